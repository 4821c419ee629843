//! Floor 1: pure HTTP. Payloads, signatures, the finished request, and reading what came back.

mod blueprint;
mod handlebars;
mod headers;
mod key;
mod payload;
mod reply;
mod signature;
mod spec;
mod template;

pub use blueprint::{Blueprint, Request, SpecFault, Unrenderable};
pub use reply::retry_after;
pub use spec::{
    Algorithm, Encoding, HeaderSpec, JsonForm, KeyForm, Member, Passing, PayloadSpec, RequestSpec, Roots,
    Shape, SignatureSpec, TimestampForm, Tree, Value, Visibility, WhenAbsent,
};

#[cfg(test)]
mod tests;
