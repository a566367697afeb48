//! Lines of JSON.
