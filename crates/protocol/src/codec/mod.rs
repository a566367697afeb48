//! Wire formats: one file for each.

pub mod gateway_worker;
pub mod json_lines;
pub mod native;
