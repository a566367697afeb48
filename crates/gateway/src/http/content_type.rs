//! Content types by file name.

/// The content type of a file by its extension, ignoring case.
pub(super) fn of(path: &[u8]) -> &'static str {
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let extension = name.rsplit(|byte| *byte == b'.').next().filter(|all| all.len() < name.len());
    let extension = extension.unwrap_or_default().to_ascii_lowercase();
    match &extension[..] {
        b"html" | b"htm" => "text/html; charset=utf-8",
        b"css" => "text/css; charset=utf-8",
        b"js" | b"mjs" | b"cjs" => "text/javascript; charset=utf-8",
        b"txt" | b"text" | b"log" => "text/plain; charset=utf-8",
        b"md" => "text/markdown; charset=utf-8",
        b"csv" => "text/csv; charset=utf-8",
        b"vtt" => "text/vtt; charset=utf-8",
        b"ics" => "text/calendar; charset=utf-8",
        b"json" | b"map" => "application/json",
        b"jsonld" => "application/ld+json",
        b"geojson" => "application/geo+json",
        b"webmanifest" => "application/manifest+json",
        b"xml" | b"xsl" => "application/xml",
        b"xhtml" => "application/xhtml+xml",
        b"atom" => "application/atom+xml",
        b"rss" => "application/rss+xml",
        b"wasm" => "application/wasm",
        b"pdf" => "application/pdf",
        b"zip" => "application/zip",
        b"gz" => "application/gzip",
        b"svg" => "image/svg+xml",
        b"png" => "image/png",
        b"apng" => "image/apng",
        b"jpg" | b"jpeg" => "image/jpeg",
        b"gif" => "image/gif",
        b"webp" => "image/webp",
        b"avif" => "image/avif",
        b"bmp" => "image/bmp",
        b"ico" | b"cur" => "image/x-icon",
        b"woff" => "font/woff",
        b"woff2" => "font/woff2",
        b"ttf" => "font/ttf",
        b"otf" => "font/otf",
        b"mp3" => "audio/mpeg",
        b"m4a" => "audio/mp4",
        b"aac" => "audio/aac",
        b"ogg" | b"oga" | b"opus" => "audio/ogg",
        b"flac" => "audio/flac",
        b"wav" => "audio/wav",
        b"weba" => "audio/webm",
        b"mp4" | b"m4v" => "video/mp4",
        b"webm" => "video/webm",
        b"ogv" => "video/ogg",
        _ => "application/octet-stream",
    }
}

/// Whether content of this type is text, which compression makes smaller.
pub(super) fn is_text(content_type: &str) -> bool {
    content_type.starts_with("text/")
        || content_type.ends_with("json")
        || content_type.ends_with("xml")
        || content_type == "application/wasm"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_type_depends_on_last_extension() {
        for (path, expected) in [
            (&b"/a.wasm"[..], "application/wasm"),
            (b"/A.WASM", "application/wasm"),
            (b"/a.b/c.min.js", "text/javascript; charset=utf-8"),
            (b"/\xff.html", "text/html; charset=utf-8"),
            (b"/dir.js/file", "application/octet-stream"),
            (b"/js", "application/octet-stream"),
            (b"/a.", "application/octet-stream"),
        ] {
            assert_eq!(of(path), expected, "{}", String::from_utf8_lossy(path));
        }
    }
}
