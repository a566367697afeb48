//! PHP's data formats and functions, for PHP peers: serialization and deserialization, JSON with
//! PHP's semantics, query strings, and the merge that session updates use.
//!
//! Nothing here executes code or instantiates objects. Everything is bounded: [`MAX_DEPTH`] levels,
//! [`MAX_VALUES`] values, and memory in proportion to the text that was read.

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
