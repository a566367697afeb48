//! Static files on WebSocket listeners: the built-in chat page, or those of a folder.

use std::{
    collections::HashMap,
    hash::{BuildHasher, BuildHasherDefault},
    path::PathBuf,
};

use bytes::Bytes;
use framing::http::{Request, gzip, response_head};
use rustc_hash::FxHasher;

use super::{content_type, path};

const PLAIN_TEXT: &str = "Content-Type: text/plain; charset=utf-8\r\nCache-Control: no-cache\r\n";

/// Files by path, all in memory: serving never waits for a disk, and no request can access other
/// files.
#[derive(Debug)]
pub(crate) struct StaticFiles {
    files: HashMap<Vec<u8>, File>,
    /// The policy of the built-in page; `None` for a folder, whose author is responsible for it.
    policy: Option<String>,
    /// The folder under which files never change: a hash of them all is part of its name.
    version: Option<String>,
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
    plain: Representation,
    gzip: Option<Representation>,
}

/// A file as it is sent, with its entity tag.
#[derive(Debug)]
struct Representation {
    tag: String,
    body: Bytes,
}

impl StaticFiles {
    /// No files.
    pub(super) fn empty() -> Self {
        Self { files: HashMap::new(), policy: None, version: None, left_out: LeftOut::default() }
    }

    /// Sets the content security policy of every response.
    pub(super) fn set_policy(&mut self, policy: String) {
        self.policy = Some(policy);
    }

    /// Also serves every file below `/VERSION/`, where a client may keep it for good. Below another
    /// version, such as that of a page which another gateway has served, it is the same file.
    pub(super) fn set_version(&mut self, version: String) {
        self.version = Some(version);
    }

    /// Adds a file under its path, which is not percent-encoded.
    pub(super) fn add(&mut self, path: Vec<u8>, body: Bytes) {
        let hash = hash(&body);
        let content_type = content_type::of(&path);
        let gzip = content_type::is_text(content_type).then(|| gzip::compressed(&body)).flatten();
        let gzip = gzip.map(|body| Representation { tag: format!("\"{hash:016x}-gzip\""), body });
        let plain = Representation { tag: format!("\"{hash:016x}\""), body };
        self.files.insert(path, File { content_type, plain, gzip });
    }

    /// The response to an ordinary request: head and body.
    pub(super) fn answer(&self, request: &Request) -> (Bytes, Bytes) {
        let mut fields = String::new();
        let (status, body, length) = match request.method.as_str() {
            "GET" | "HEAD" => match self.file(request.handshake.path()) {
                Some((file, is_fixed)) => file.answer(request, is_fixed, &mut fields),
                None => {
                    fields.push_str(PLAIN_TEXT);
                    let body = Bytes::from_static(b"nothing here\n");
                    ("404 Not Found", body.clone(), body.len())
                }
            },
            _ => {
                fields.push_str(PLAIN_TEXT);
                fields.push_str("Allow: GET, HEAD, OPTIONS\r\n");
                ("405 Method Not Allowed", Bytes::new(), 0)
            }
        };
        if let Some(policy) = &self.policy {
            fields.push_str(&format!(
                "Content-Security-Policy: {policy}\r\nReferrer-Policy: no-referrer\r\n"
            ));
        }
        fields.push_str("X-Content-Type-Options: nosniff\r\n");
        let body = if request.method == "HEAD" { Bytes::new() } else { body };
        (response_head(status, &fields, length, request.keep_alive), body)
    }

    /// The file of a path, and whether the content below that path never changes.
    fn file(&self, path: &str) -> Option<(&File, bool)> {
        let path = path::decoded(path)?;
        if let Some(version) = &self.version
            && let Some((asked, path)) = versioned(&path)
        {
            return Some((self.files.get(path)?, asked == version.as_bytes()));
        }
        let file = match path.ends_with(b"/") {
            true => self.files.get(&[&path[..], b"index.html"].concat()),
            false => self.files.get(&path[..]),
        };
        Some((file?, false))
    }

    /// The paths of all files, sorted.
    #[cfg(test)]
    pub(super) fn paths(&self) -> Vec<&[u8]> {
        let mut paths: Vec<_> = self.files.keys().map(Vec::as_slice).collect();
        paths.sort_unstable();
        paths
    }
}

impl File {
    /// Status, body, and length of the content; adds the fields.
    fn answer(
        &self,
        request: &Request,
        is_fixed: bool,
        fields: &mut String,
    ) -> (&'static str, Bytes, usize) {
        let gzip = self.gzip.as_ref();
        let gzip = gzip.filter(|_| gzip::is_accepted(request.header("Accept-Encoding")));
        let sent = gzip.unwrap_or(&self.plain);
        fields.push_str(&format!("Content-Type: {}\r\n", self.content_type));
        fields.push_str(&format!("ETag: {}\r\n", sent.tag));
        if self.gzip.is_some() {
            fields.push_str("Vary: Accept-Encoding\r\n");
        }
        if gzip.is_some() {
            fields.push_str("Content-Encoding: gzip\r\n");
        }
        fields.push_str(match is_fixed {
            true => "Cache-Control: public, max-age=31536000, immutable\r\n",
            false => "Cache-Control: no-cache\r\n",
        });
        // A 304 has the length of the 200 that it stands for.
        match request.header("If-None-Match") == Some(&sent.tag) {
            true => ("304 Not Modified", Bytes::new(), sent.body.len()),
            false => ("200 OK", sent.body.clone(), sent.body.len()),
        }
    }
}

/// The prefix of a version's name, before 16 hexadecimal digits.
pub(super) const VERSION: &str = "v-";

/// A path below a version: the version, and the path without it.
fn versioned(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let path = path.strip_prefix(b"/")?;
    let end = path.iter().position(|byte| *byte == b'/')?;
    let (version, path) = path.split_at(end);
    let digits = version.strip_prefix(VERSION.as_bytes())?;
    (digits.len() == 16 && digits.iter().all(u8::is_ascii_hexdigit)).then_some((version, path))
}

/// A hash for entity tags and versions: it need not resist anybody, since files are the operator's.
pub(super) fn hash(body: &[u8]) -> u64 {
    BuildHasherDefault::<FxHasher>::default().hash_one(body)
}

#[cfg(test)]
mod tests {
    use framing::http::parse;

    use super::{super::built_in, *};

    fn answer(site: &StaticFiles, request: &str) -> (String, String) {
        let (request, _) = parse(request.as_bytes()).unwrap().unwrap();
        let (head, body) = site.answer(&request);
        (String::from_utf8(head.to_vec()).unwrap(), String::from_utf8_lossy(&body).into_owned())
    }

    #[test]
    fn built_in_page_is_served_with_strict_policy() {
        let site = built_in::page(&[]);
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
        let site = built_in::page(&[]);
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
