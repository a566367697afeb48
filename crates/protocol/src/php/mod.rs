//! What PHP does with values, for the peers that are written in it: serialized text both ways,
//! JSON as PHP has it, query strings, and the merge that sessions are changed by.
//!
//! Nothing here runs code or builds objects. Everything is bounded: [`MAX_DEPTH`] levels,
//! [`MAX_VALUES`] values, no more memory than a text that was read already can fill.

mod array;
mod array_replace_recursive;
mod document;
mod float;
mod json_decode;
mod json_encode;
mod parse_str;
mod scalars;
mod scanner;
mod serialize;
mod splice;
mod unserialize;
mod value;

pub use array::Array;
pub use array_replace_recursive::{ReplaceError, array_replace_recursive};
pub use document::Document;
pub(crate) use float::to_text as float_to_text;
pub use json_decode::{JsonDecodeError, json_decode};
pub use json_encode::{JsonEncodeError, json_encode};
pub use parse_str::{parse_str, query_of};
pub use serialize::{SerializeError, serialize};
pub(crate) use serialize::{int, key, string};
pub(crate) use splice::splice;
pub use unserialize::{UnserializeError, unserialize};
pub(crate) use value::is_empty;
pub use value::{Custom, Key, MAX_DEPTH, MAX_VALUES, Object, Shared, SharedBy, Value};
