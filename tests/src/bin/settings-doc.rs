//! Writes the tables of docs/settings.md: `cargo run -p suite-tests --bin settings-doc`.

use std::{fs, io};

use suite_tests::settings_table::{MARK, tables};

fn main() -> io::Result<()> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/settings.md");
    let document = fs::read_to_string(path)?;
    let (introduction, _) = document.split_once(MARK).unwrap_or((&document, ""));
    fs::write(path, format!("{introduction}{MARK}{}", tables()))
}
