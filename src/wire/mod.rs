//! Floor 1: pure HTTP. Payloads, signatures, the finished request, and reading what came back; also the
//! receiver's side of a signature ([`verify`]).

mod blueprint;
mod checking_key;
mod cloud_event;
mod handlebars;
mod headers;
mod key;
mod payload;
mod reply;
mod signature;
mod spec;
mod template;
pub mod verify;

pub use blueprint::{Blueprint, Request, SpecFault, Unrenderable};
pub(crate) use headers::secret_value;
pub use reply::retry_after;
pub use signature::Subject;
pub use spec::{
    Algorithm, AuthHeader, CloudEventMode, Encoding, HeaderSpec, JsonForm, KeyForm, Member, Passing,
    PayloadSpec, RequestSpec, Roots, Shape, SignatureSpec, TimestampForm, Tree, Value, Visibility,
    WhenAbsent,
};

#[cfg(test)]
mod tests;
