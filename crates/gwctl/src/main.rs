//! The program `gwctl`: shows and controls a running cluster.

use std::process::ExitCode;

fn main() -> ExitCode {
    gwctl::main()
}
