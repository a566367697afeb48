//! The files that a browser gets on a WebSocket port: the built-in chat page, or a folder's.

use std::{
    collections::HashMap,
    fs,
    hash::{BuildHasher, BuildHasherDefault},
    io,
    path::Path,
};

use bytes::{BufMut, Bytes, BytesMut};
use rustc_hash::FxHasher;

use super::{BadRequest, Request};

/// What the page may do: its own scripts, styles and socket, and nothing else; nobody may frame it.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";

/// The most that a folder's files may have together, in bytes: they are kept in memory.
const MAX_SITE: u64 = 64 * 1024 * 1024;

/// The most files a folder may have.
const MAX_FILES: usize = 1000;

/// Files by path, all read at start: serving one never waits for a disk, and no request can reach
/// beyond them.
#[derive(Debug)]
pub(crate) struct Site {
    files: HashMap<String, File>,
    /// What the built-in page is held to; a folder's pages are their author's affair.
    policy: Option<&'static str>,
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

/// The chat page, as it lies in `web/`.
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

impl Site {
    /// The built-in chat page.
    pub(crate) fn built_in() -> Self {
        let mut site = Self { files: HashMap::new(), policy: Some(CONTENT_SECURITY_POLICY) };
        for (name, body) in BUILT_IN {
            site.add(format!("/{name}"), Bytes::from_static(body));
        }
        site
    }

    /// The files of a folder and its subfolders. Hidden files are left out, links are followed.
    pub(crate) fn read(root: &Path) -> io::Result<Self> {
        let mut site = Self { files: HashMap::new(), policy: None };
        let (mut folders, mut size) = (vec![(root.to_path_buf(), String::new())], 0);
        while let Some((folder, prefix)) = folders.pop() {
            for entry in fs::read_dir(folder)? {
                let entry = entry?;
                let Some(name) = entry.file_name().to_str().map(str::to_owned) else {
                    continue;
                };
                let path = format!("{prefix}/{name}");
                let about = fs::metadata(entry.path())?;
                if name.starts_with('.') {
                    continue;
                }
                if about.is_dir() {
                    folders.push((entry.path(), path));
                    continue;
                }
                size += about.len();
                if MAX_SITE < size || MAX_FILES <= site.files.len() || MAX_FILES < folders.len() {
                    let limit = format!("more than {MAX_FILES} files or {MAX_SITE} bytes");
                    return Err(io::Error::new(io::ErrorKind::FileTooLarge, limit));
                }
                site.add(path, fs::read(entry.path())?.into());
            }
        }
        Ok(site)
    }

    fn add(&mut self, path: String, body: Bytes) {
        let hash = BuildHasherDefault::<FxHasher>::default().hash_one(&body);
        let tag = format!("\"{hash:016x}\"");
        let file = File { content_type: content_type(&path), tag, body };
        self.files.insert(path, file);
    }

    /// The answer to a request that is not a WebSocket's: head and body.
    pub(crate) fn answer(&self, request: &Request) -> (Bytes, Bytes) {
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
            fields.push_str("Allow: GET, HEAD\r\n");
        }
        if let Some(policy) = self.policy {
            fields.push_str(&format!(
                "Content-Security-Policy: {policy}\r\nReferrer-Policy: no-referrer\r\n"
            ));
        }
        fields.push_str("Cache-Control: no-cache\r\nX-Content-Type-Options: nosniff\r\n");
        let body_sent = if request.method == "HEAD" { Bytes::new() } else { body.clone() };
        (head(status, &fields, body.len(), request.keep_alive), body_sent)
    }

    fn file(&self, path: &str) -> Option<&File> {
        match path.strip_suffix('/') {
            Some(folder) => self.files.get(&format!("{folder}/index.html")),
            None => self.files.get(path),
        }
    }
}

impl BadRequest {
    /// The answer to what is no request.
    pub(crate) fn answer(self) -> Bytes {
        head(self.status(), "", 0, false)
    }
}

fn head(status: &str, fields: &str, length: usize, keep_alive: bool) -> Bytes {
    let mut out = BytesMut::with_capacity(256 + fields.len());
    let connection = if keep_alive { "keep-alive" } else { "close" };
    out.put_slice(
        format!(
            "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: {connection}\r\n{fields}\r\n"
        )
        .as_bytes(),
    );
    out.freeze()
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "html" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "json" => "application/json",
        "webmanifest" => "application/manifest+json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "mp3" => "audio/mpeg",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::{super::parse, *};

    fn answer(site: &Site, request: &str) -> (String, String) {
        let (request, _) = parse(request.as_bytes()).unwrap().unwrap();
        let (head, body) = site.answer(&request);
        (String::from_utf8(head.to_vec()).unwrap(), String::from_utf8_lossy(&body).into_owned())
    }

    #[test]
    fn a_browser_gets_the_page_under_a_strict_policy() {
        let site = Site::built_in();
        let (head, body) = answer(&site, "GET / HTTP/1.1\r\n\r\n");
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert!(head.contains("Content-Type: text/html"), "{head}");
        assert!(head.contains("script-src 'self'"), "{head}");
        assert!(body.contains("<html"), "{body}");
        let tag = head.lines().find_map(|line| line.strip_prefix("ETag: ")).unwrap();
        let again = format!("GET /index.html HTTP/1.1\r\nIf-None-Match: {tag}\r\n\r\n");
        assert!(answer(&site, &again).0.starts_with("HTTP/1.1 304"));
        let (head, body) = answer(&site, "HEAD / HTTP/1.0\r\n\r\n");
        assert!(!head.contains("Content-Length: 0") && body.is_empty(), "{head}");
        assert!(head.contains("Connection: close"), "{head}");
    }

    #[test]
    fn nothing_beyond_the_site_is_reached() {
        let site = Site::built_in();
        for path in ["/../Cargo.toml", "/%2e%2e/Cargo.toml", "//index.html", "/nothing", "*"] {
            let (head, _) = answer(&site, &format!("GET {path} HTTP/1.1\r\n\r\n"));
            assert!(head.starts_with("HTTP/1.1 404"), "{path}: {head}");
        }
        assert!(answer(&site, "DELETE / HTTP/1.1\r\n\r\n").0.starts_with("HTTP/1.1 405"));
    }

    #[test]
    fn a_folder_replaces_the_page() {
        let folder = std::env::temp_dir().join(format!("site-{}", std::process::id()));
        fs::create_dir_all(folder.join("deep")).unwrap();
        fs::write(folder.join("deep/a.js"), "1").unwrap();
        fs::write(folder.join(".hidden"), "no").unwrap();
        let site = Site::read(&folder).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        let (head, body) = answer(&site, "GET /deep/a.js HTTP/1.1\r\n\r\n");
        assert!(head.contains("text/javascript"), "{head}");
        assert!(!head.contains("Content-Security-Policy"), "{head}");
        assert_eq!(body, "1");
        assert!(answer(&site, "GET /.hidden HTTP/1.1\r\n\r\n").0.contains("404"));
        assert!(answer(&site, "GET / HTTP/1.1\r\n\r\n").0.contains("404"));
    }
}
