//! Manual pages and completions of a program, made of its command line for packages.
//!
//! `gateway man DIR` writes `push-suite-gateway.8` into a folder, and `gateway completions bash`
//! the completions to standard output. Nothing else of a program starts with these words.

use std::{
    ffi::OsString,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Command, ValueEnum as _};
use clap_complete::Shell;
use clap_mangen::Man;

/// A request of a command line.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Request {
    Page(PathBuf),
    Completions(Shell),
}

impl Request {
    /// Reads the arguments behind the name of the program; `None` if they are settings.
    fn of(mut args: impl Iterator<Item = OsString>) -> Option<Self> {
        let (word, value) = (args.next()?, args.next()?);
        let shell = || value.to_str().and_then(|shell| Shell::from_str(shell, false).ok());
        match (word.to_str()?, args.next()) {
            ("man", None) => Some(Self::Page(value.into())),
            ("completions", None) => shell().map(Self::Completions),
            _ => None,
        }
    }

    /// Answers it, for a program of this name.
    fn run(&self, program: &str, command: Command) -> io::Result<()> {
        match self {
            Self::Page(folder) => write_page(program, command, folder),
            Self::Completions(shell) => {
                io::stdout().write_all(&completions(program, command, *shell))
            }
        }
    }
}

/// Answers the request of this command line; `None` if the process is to run.
pub(crate) fn requested(command: Command) -> Option<ExitCode> {
    let mut args = std::env::args_os();
    let program = args.next().map(PathBuf::from)?;
    let request = Request::of(args)?;
    let program = program.file_name().and_then(|name| name.to_str())?;
    Some(match request.run(program, command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    })
}

/// Writes the manual page of a server into a folder. Names of programs are general, so those of
/// their pages have a prefix.
fn write_page(program: &str, command: Command, folder: &Path) -> io::Result<()> {
    let page = format!("push-suite-{program}");
    let source = format!("push-suite {}", command.get_version().unwrap_or_default());
    let command = command.display_name(page).bin_name(program);
    let page = Man::new(command).section("8").source(source).manual("push-suite");
    page.generate_to(folder).map(drop)
}

fn completions(program: &str, mut command: Command, shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, program, &mut script);
    script
}

#[cfg(test)]
mod tests {
    use clap::Arg;

    use super::*;

    fn command() -> Command {
        let flag = Arg::new("listen").long("listen").help("Where to listen").help_heading("Ports");
        let hidden = Arg::new("inside").long("inside").hide(true);
        Command::new("push-suite-gateway")
            .version("1.2.3")
            .about("Holds clients")
            .args([flag, hidden])
    }

    fn asked(words: &[&str]) -> Option<Request> {
        Request::of(words.iter().map(OsString::from))
    }

    #[test]
    fn only_two_words_ask_for_a_page_or_completions() {
        assert_eq!(asked(&["man", "/x"]), Some(Request::Page("/x".into())));
        assert_eq!(asked(&["completions", "zsh"]), Some(Request::Completions(Shell::Zsh)));
        for words in
            [&[][..], &["man"], &["man", "/x", "y"], &["completions", "dos"], &["--listen", "man"]]
        {
            assert_eq!(asked(words), None, "{words:?}");
        }
    }

    #[test]
    fn page_has_the_flags_by_topic_and_a_name_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        write_page("gateway", command(), folder.path()).unwrap();
        let page = std::fs::read_to_string(folder.path().join("push-suite-gateway.8")).unwrap();
        for part in [
            ".TH push-suite-gateway 8",
            "\"push-suite 1.2.3\"",
            "push\\-suite\\-gateway \\- Holds clients",
            ".SH PORTS",
            "\\-\\-listen",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
        assert!(!page.contains("inside"), "{page}");
        assert!(write_page("gateway", command(), &folder.path().join("absent")).is_err());
    }

    #[test]
    fn completions_name_the_flags() {
        let script = String::from_utf8(completions("gateway", command(), Shell::Bash)).unwrap();
        assert!(script.contains("--listen"), "{script}");
        assert!(script.contains("complete -F _gateway "), "{script}");
    }
}
