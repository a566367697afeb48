//! A PHP process that executes functions for comparison.

use std::{
    env,
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

pub(crate) struct Php {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Php {
    /// Starts PHP; `None`, with a notice, if it is not installed. With `REQUIRE_PHP=1` that is an
    /// error.
    pub(crate) fn start() -> Option<Self> {
        let started = Command::new("php")
            .args(["-n", "-d", "serialize_precision=-1", "-d", "precision=14"])
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/php/peer.php"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let mut child = match started {
            Ok(child) => child,
            Err(error) if env::var_os("REQUIRE_PHP").is_some_and(|required| required == "1") => {
                panic!("REQUIRE_PHP is set, but php does not start: {error}")
            }
            Err(error) => {
                eprintln!("skipped: php does not start ({error}); REQUIRE_PHP=1 would fail here");
                return None;
            }
        };
        let stdin = child.stdin.take().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Some(Self { child, stdin, stdout })
    }

    /// PHP's result for these arguments; `None` if it fails.
    pub(crate) fn run(&mut self, operation: &str, arguments: &[&[u8]]) -> Option<Vec<u8>> {
        let mut line = operation.to_owned();
        for argument in arguments {
            line.push(' ');
            line.push_str(&base64(argument));
        }
        line.push('\n');
        self.stdin.write_all(line.as_bytes()).unwrap();
        let mut reply = String::new();
        self.stdout.read_line(&mut reply).unwrap();
        let reply = reply.trim_end();
        assert!(!reply.is_empty(), "php exited during {operation}");
        reply.strip_prefix('+').map(bytes)
    }
}

impl Drop for Php {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn base64(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let part = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let group = part(0) << 16 | part(1) << 8 | part(2);
        for at in 0..4 {
            let digit = DIGITS[(group >> (18 - 6 * at)) as usize & 63];
            text.push(if at <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

fn bytes(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text
        .bytes()
        .filter_map(|digit| DIGITS.iter().position(|known| *known == digit))
        .map(|digit| digit as u32)
        .collect();
    let group = |digits: &[u32]| {
        let sum = (0..4).fold(0, |sum, at| sum << 6 | digits.get(at).copied().unwrap_or(0));
        let count = digits.len().saturating_sub(1);
        sum.to_be_bytes()[1..].iter().take(count).copied().collect::<Vec<u8>>()
    };
    digits.chunks(4).flat_map(group).collect()
}
