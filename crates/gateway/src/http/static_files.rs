//! Static files on WebSocket listeners: the built-in chat page, or those of a folder.

use std::{
    collections::HashMap,
    hash::{BuildHasher, BuildHasherDefault},
    path::PathBuf,
};

use bytes::Bytes;
use framing::http::{Request, response_head};
use rustc_hash::FxHasher;

use super::{content_type, path};

/// Content security policy of the built-in page: its own scripts, styles and WebSocket only, and no
/// framing.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";

/// Files by path, all in memory: serving never waits for a disk, and no request can access other
/// files.
#[derive(Debug)]
pub(crate) struct StaticFiles {
    files: HashMap<Vec<u8>, File>,
    /// The policy of the built-in page; `None` for a folder, whose author is responsible for it.
    policy: Option<&'static str>,
    /// Entries of the folder that are not served.
    pub(super) left_out: LeftOut,
}

/// Entries that are not served: the first ones with their path and reason, and the number of
/// others.
#[derive(Debug, Default)]
pub(super) struct LeftOut {
    named: Vec<(PathBuf, &'static str)>,
    more: usize,
}

impl LeftOut {
    /// Maximum number of entries with path and reason.
    pub(super) const NAMED: usize = 20;

    /// Adds an entry with the reason.
    pub(super) fn push(&mut self, path: PathBuf, reason: &'static str) {
        match self.named.len() < Self::NAMED {
            true => self.named.push((path, reason)),
            false => self.more += 1,
        }
    }

    /// The first entries, each with its reason.
    pub(super) fn named(&self) -> &[(PathBuf, &'static str)] {
        &self.named
    }

    /// The number of further entries.
    pub(super) const fn more(&self) -> usize {
        self.more
    }
}

#[derive(Debug)]
struct File {
    content_type: &'static str,
    tag: String,
    body: Bytes,
}

macro_rules! built_in {
    ($($name:literal)*) => {
        &[$(($name, include_bytes!(concat!("../../../../web/", $name)))),*]
    };
}

/// The chat page in `web/`.
const BUILT_IN: &[(&str, &[u8])] = built_in! {
    "index.html"
    "chat.css"
    "favicon.svg"
    "manifest.webmanifest"
    "main.js"
    "chat.js"
    "commands.js"
    "completion.js"
    "connection.js"
    "history.js"
    "i18n.js"
    "prompt.js"
    "protocol.js"
    "roster.js"
    "shell.js"
    "statusbar.js"
    "store.js"
    "terminal.js"
    "text.js"
    "words.js"
};

impl StaticFiles {
    /// The built-in chat page.
    pub(super) fn built_in() -> Self {
        let mut site = Self { policy: Some(CONTENT_SECURITY_POLICY), ..Self::empty() };
        for (name, body) in BUILT_IN {
            site.add(format!("/{name}").into_bytes(), Bytes::from_static(body));
        }
        site
    }

    /// No files.
    pub(super) fn empty() -> Self {
        Self { files: HashMap::new(), policy: None, left_out: LeftOut::default() }
    }

    /// Adds a file under its path, which is not percent-encoded.
    pub(super) fn add(&mut self, path: Vec<u8>, body: Bytes) {
        let hash = BuildHasherDefault::<FxHasher>::default().hash_one(&body);
        let tag = format!("\"{hash:016x}\"");
        let file = File { content_type: content_type::of(&path), tag, body };
        self.files.insert(path, file);
    }

    /// The response to an ordinary request: head and body.
    pub(super) fn answer(&self, request: &Request) -> (Bytes, Bytes) {
        let nothing = (None, Bytes::new());
        let (status, (file, body)) = match request.method.as_str() {
            "GET" | "HEAD" => match self.file(request.handshake.path()) {
                Some(file) if request.header("If-None-Match") == Some(&file.tag) => {
                    ("304 Not Modified", (Some(file), Bytes::new()))
                }
                Some(file) => ("200 OK", (Some(file), file.body.clone())),
                None => ("404 Not Found", (None, Bytes::from_static(b"nothing here\n"))),
            },
            _ => ("405 Method Not Allowed", nothing),
        };
        let mut fields = String::new();
        match file {
            Some(file) => {
                fields.push_str(&format!(
                    "Content-Type: {}\r\nETag: {}\r\n",
                    file.content_type, file.tag
                ));
            }
            None => fields.push_str("Content-Type: text/plain; charset=utf-8\r\n"),
        }
        if status.starts_with("405") {
            fields.push_str("Allow: GET, HEAD, OPTIONS\r\n");
        }
        if let Some(policy) = self.policy {
            fields.push_str(&format!(
                "Content-Security-Policy: {policy}\r\nReferrer-Policy: no-referrer\r\n"
            ));
        }
        fields.push_str("Cache-Control: no-cache\r\nX-Content-Type-Options: nosniff\r\n");
        let body_sent = if request.method == "HEAD" { Bytes::new() } else { body.clone() };
        // A 304 has the length of the 200 that it stands for.
        let length = file.map_or(body.len(), |file| file.body.len());
        (response_head(status, &fields, length, request.keep_alive), body_sent)
    }

    fn file(&self, path: &str) -> Option<&File> {
        let path = path::decoded(path)?;
        match path.ends_with(b"/") {
            true => self.files.get(&[&path[..], b"index.html"].concat()),
            false => self.files.get(&path[..]),
        }
    }

    /// The paths of all files, sorted.
    #[cfg(test)]
    pub(super) fn paths(&self) -> Vec<&[u8]> {
        let mut paths: Vec<_> = self.files.keys().map(Vec::as_slice).collect();
        paths.sort_unstable();
        paths
    }
}

#[cfg(test)]
mod tests {
    use framing::http::parse;

    use super::*;

    fn answer(site: &StaticFiles, request: &str) -> (String, String) {
        let (request, _) = parse(request.as_bytes()).unwrap().unwrap();
        let (head, body) = site.answer(&request);
        (String::from_utf8(head.to_vec()).unwrap(), String::from_utf8_lossy(&body).into_owned())
    }

    #[test]
    fn built_in_page_is_served_with_strict_policy() {
        let site = StaticFiles::built_in();
        let (head, body) = answer(&site, "GET / HTTP/1.1\r\n\r\n");
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert!(head.contains("Content-Type: text/html"), "{head}");
        assert!(head.contains("script-src 'self'"), "{head}");
        assert!(body.contains("<html"), "{body}");
        let tag = head.lines().find_map(|line| line.strip_prefix("ETag: ")).unwrap();
        let again = format!("GET /index.html HTTP/1.1\r\nIf-None-Match: {tag}\r\n\r\n");
        let (head, body) = answer(&site, &again);
        assert!(head.starts_with("HTTP/1.1 304") && body.is_empty(), "{head}");
        assert!(!head.contains("Content-Length: 0"), "{head}");
        let (head, body) = answer(&site, "HEAD / HTTP/1.0\r\n\r\n");
        assert!(!head.contains("Content-Length: 0") && body.is_empty(), "{head}");
        assert!(head.contains("Connection: close"), "{head}");
    }

    #[test]
    fn path_outside_of_static_files_is_not_found() {
        let site = StaticFiles::built_in();
        for path in ["/../Cargo.toml", "/%2e%2e/Cargo.toml", "//index.html", "/nothing", "*"] {
            let (head, _) = answer(&site, &format!("GET {path} HTTP/1.1\r\n\r\n"));
            assert!(head.starts_with("HTTP/1.1 404"), "{path}: {head}");
        }
        assert!(answer(&site, "DELETE / HTTP/1.1\r\n\r\n").0.starts_with("HTTP/1.1 405"));
    }

    #[test]
    fn file_is_found_by_decoded_path() {
        let mut site = StaticFiles::empty();
        for name in ["/a b.js", "/\u{4f60}/index.html", "/50%.txt", "/a+b"] {
            site.add(name.into(), Bytes::from_static(b"here"));
        }
        site.add(b"/\xc4\xe3.txt".to_vec(), Bytes::from_static(b"here"));
        for path in [
            "/a%20b.js",
            "/%E4%BD%A0/",
            "/\u{4f60}/index.html",
            "/50%25.txt",
            "/a+b",
            "/%c4%e3.txt",
        ] {
            let (head, body) = answer(&site, &format!("GET {path}?v=%zz HTTP/1.1\r\n\r\n"));
            assert!(head.starts_with("HTTP/1.1 200 "), "{path}: {head}");
            assert!(!head.contains("Content-Security-Policy"), "{head}");
            assert_eq!(body, "here", "{path}");
        }
        for path in ["/50%.txt", "/a%2520b.js", "/%E4%BD%A0%2f", "/%E4%BD%A0%2findex.html"] {
            let (head, _) = answer(&site, &format!("GET {path} HTTP/1.1\r\n\r\n"));
            assert!(head.starts_with("HTTP/1.1 404 "), "{path}: {head}");
        }
    }
}
