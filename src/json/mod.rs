//! Floor 0: JSON as text. One pass that validates a document and picks values out of it, and
//! writers that re-emit JSON in a fixed form. No `Value` tree.
//!
//! [`read`] is the only door for foreign bytes. Everything else takes JSON text that came through
//! it (or was made here); given other text it answers something, and never panics.

mod cursor;
mod form;
mod number;
mod scalar;
mod selection;
mod string;

pub use cursor::{Member, at, elements, members};
pub use form::{JsonForm, ObjectWriter, TooDeep, write};
pub use number::has_big_integer;
pub use scalar::{field, same, text};
pub use selection::{NotJson, Selection, is_document, read};
pub use string::{escape, quote};

#[cfg(test)]
mod tests;
