//! The chat page that is built in.

use bytes::Bytes;

use super::static_files::{StaticFiles, VERSION, hash};

/// The page itself, which names the other files.
const INDEX: &str = include_str!("../../../../web/index.html");

macro_rules! built_in {
    ($($name:literal)*) => {
        &[$(($name, include_bytes!(concat!("../../../../web/", $name)))),*]
    };
}

/// Files whose address in the page contains the version, so that browsers keep them for good.
const VERSIONED: &[(&str, &[u8])] = built_in! {
    "chat.css"
    "noscript.css"
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

/// Files that keep their address.
const OTHERS: &[(&str, &[u8])] = built_in! {
    "favicon.svg"
    "icon-192.png"
    "icon-512.png"
    "icon-maskable.png"
    "manifest.webmanifest"
};

/// The place in the page for the other gateways.
const GATEWAYS: &str = r#"<meta name="gateways" content="">"#;

/// The built-in page, which connects to these other gateways while its own is away. Each is a URL
/// as clients reach it.
pub(super) fn page(gateways: &[String]) -> StaticFiles {
    let mut files = StaticFiles::empty();
    files.set_policy(policy(gateways));
    let all: Vec<u8> = VERSIONED.iter().flat_map(|(_, body)| *body).copied().collect();
    let version = format!("{VERSION}{:016x}", hash(&all));
    for (name, body) in VERSIONED.iter().chain(OTHERS) {
        files.add(format!("/{name}").into_bytes(), Bytes::from_static(body));
    }
    let mut index = INDEX
        .replace(GATEWAYS, &format!(r#"<meta name="gateways" content="{}">"#, gateways.join(" ")));
    for (name, _) in VERSIONED {
        index = index.replace(&format!("\"{name}\""), &format!("\"{version}/{name}\""));
    }
    files.add(b"/index.html".to_vec(), index.into());
    files.set_version(version);
    files
}

/// Content security policy: the page's own scripts, styles and WebSocket only, and no framing.
fn policy(gateways: &[String]) -> String {
    let others: String = gateways.iter().map(|url| format!(" {url}")).collect();
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
         connect-src 'self'{others}; manifest-src 'self'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    )
}

#[cfg(test)]
mod tests {
    use framing::http::parse;

    use super::*;

    fn answer(files: &StaticFiles, path: &str, field: &str) -> (String, Vec<u8>) {
        let request = format!("GET {path} HTTP/1.1\r\n{field}\r\n");
        let (head, body) = files.answer(&parse(request.as_bytes()).unwrap().unwrap().0);
        (String::from_utf8(head.to_vec()).unwrap(), body.to_vec())
    }

    fn index(files: &StaticFiles) -> String {
        String::from_utf8(answer(files, "/", "").1).unwrap()
    }

    #[test]
    fn every_script_and_style_of_the_page_is_versioned_and_preloaded() {
        let files = page(&[]);
        let index = index(&files);
        let attributes = index.split('"').skip(1).step_by(2);
        let linked: Vec<_> =
            attributes.filter(|link| link.ends_with(".js") || link.ends_with(".css")).collect();
        assert_eq!(linked.len(), VERSIONED.len(), "{linked:?}");
        for link in linked {
            assert!(link.starts_with(VERSION), "{link}");
            let (head, _) = answer(&files, &format!("/{link}"), "");
            assert!(head.starts_with("HTTP/1.1 200"), "{link}: {head}");
            assert!(head.contains("max-age=31536000, immutable"), "{head}");
        }
    }

    #[test]
    fn files_below_another_version_are_not_kept() {
        let files = page(&[]);
        for path in ["/v-0123456789abcdef/main.js", "/main.js", "/", "/favicon.svg"] {
            let (head, _) = answer(&files, path, "");
            assert!(head.starts_with("HTTP/1.1 200"), "{path}: {head}");
            assert!(head.contains("Cache-Control: no-cache\r\n"), "{path}: {head}");
        }
        for path in ["/v-0123456789abcdef/", "/v-1/main.js", "/v-0123456789abcdeg/main.js"] {
            assert!(answer(&files, path, "").0.starts_with("HTTP/1.1 404"), "{path}");
        }
    }

    #[test]
    fn text_is_compressed_for_clients_that_accept_it() {
        let files = page(&[]);
        let (head, plain) = answer(&files, "/words.js", "");
        assert!(head.contains("Vary: Accept-Encoding\r\n"), "{head}");
        assert!(!head.contains("Content-Encoding"), "{head}");
        let (head, compressed) = answer(&files, "/words.js", "Accept-Encoding: gzip, br\r\n");
        assert!(head.contains("Content-Encoding: gzip\r\n"), "{head}");
        assert!(compressed.len() * 2 < plain.len());
        assert!(compressed.starts_with(&[0x1f, 0x8b]));
        let tag = head.lines().find_map(|line| line.strip_prefix("ETag: ")).unwrap();
        let again = format!("Accept-Encoding: gzip\r\nIf-None-Match: {tag}\r\n");
        assert!(answer(&files, "/words.js", &again).0.starts_with("HTTP/1.1 304"));
        let other = format!("If-None-Match: {tag}\r\n");
        assert!(answer(&files, "/words.js", &other).0.starts_with("HTTP/1.1 200"));
        let (head, _) = answer(&files, "/icon-192.png", "Accept-Encoding: gzip\r\n");
        assert!(!head.contains("gzip") && !head.contains("Vary"), "{head}");
    }

    #[test]
    fn page_may_connect_to_the_other_gateways() {
        let files = page(&["ws://127.0.0.1:7273".to_owned(), "wss://b.example".to_owned()]);
        let (head, _) = answer(&files, "/", "");
        let policy = "connect-src 'self' ws://127.0.0.1:7273 wss://b.example;";
        assert!(head.contains(policy), "{head}");
        let meta = r#"<meta name="gateways" content="ws://127.0.0.1:7273 wss://b.example">"#;
        assert!(index(&files).contains(meta));
        assert!(index(&page(&[])).contains(GATEWAYS));
    }
}
