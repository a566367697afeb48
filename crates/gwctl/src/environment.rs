//! Settings of an installed host: where a variable is not set, the files of `deploy/install.sh`
//! count, so that `gwctl status` works there without flags.

use std::{env, ffi::OsString, path::Path};

use runtime::files;

/// The settings of this program on an installed host.
const SETTINGS: &str = "/etc/push-suite/gwctl.toml";

/// The secret of an installed host, readable by its owner.
const SECRET: &str = "/etc/push-suite/secret.env";

/// A variable of the environment, or its default on an installed host. With a settings file of the
/// operator's, which may be of another cluster, there are no defaults.
pub(crate) fn variable(name: &str) -> Option<OsString> {
    let given = |name| env::var_os(name).filter(|value| !value.is_empty());
    let is_config = |arg: OsString| arg.to_str().is_some_and(|arg| arg.starts_with("--config"));
    given(name).or_else(|| match name {
        _ if given("GW_CONFIG").is_some() || env::args_os().any(is_config) => None,
        "GW_CONFIG" => Path::new(SETTINGS).exists().then(|| SETTINGS.into()),
        "GW_SECRET_KEY" => secret(Path::new(SECRET)),
        _ => None,
    })
}

/// The secret in a file of variables, if it can be read and has one.
fn secret(file: &Path) -> Option<OsString> {
    let text = files::read_to_string(file, files::LIMIT).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix("GW_SECRET_KEY="))?;
    let value = value.trim().trim_matches('"');
    (!value.is_empty()).then(|| value.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_is_read_from_a_file_of_variables() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret.env");
        assert_eq!(secret(&file), None, "no file");
        for (text, expected) in [
            ("GW_SECRET_KEY=abc\n", Some("abc")),
            ("# a comment\nOTHER=1\nGW_SECRET_KEY=\"a b\"\n", Some("a b")),
            ("GW_SECRET_KEY=\n", None),
            ("", None),
        ] {
            std::fs::write(&file, text).unwrap();
            assert_eq!(secret(&file), expected.map(OsString::from), "{text:?}");
        }
    }
}
