//! How what our processes say looks as bytes. One file for each format.

pub mod gateway_worker;
pub mod json_lines;
pub mod native;
