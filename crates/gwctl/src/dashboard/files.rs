//! The files of the page, from `web/dashboard`.

use axum::{
    http::{StatusCode, Uri, header},
    response::{IntoResponse, Response},
};

/// Its own scripts, styles and requests only, and no framing.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

macro_rules! files {
    ($($name:literal $type:literal)*) => {
        &[$(($name, $type, include_bytes!(concat!("../../../../web/dashboard/", $name)))),*]
    };
}

const FILES: &[(&str, &str, &[u8])] = files! {
    "index.html" "text/html; charset=utf-8"
    "dashboard.css" "text/css; charset=utf-8"
    "favicon.svg" "image/svg+xml"
    "main.js" "text/javascript; charset=utf-8"
    "api.js" "text/javascript; charset=utf-8"
    "client.js" "text/javascript; charset=utf-8"
    "element.js" "text/javascript; charset=utf-8"
    "format.js" "text/javascript; charset=utf-8"
    "plot.js" "text/javascript; charset=utf-8"
    "series.js" "text/javascript; charset=utf-8"
    "words.js" "text/javascript; charset=utf-8"
};

/// The file of a path. It has no secrets, so it needs no token.
pub(super) async fn file(uri: Uri) -> Response {
    let name = match uri.path() {
        "/" => "index.html",
        path => path.trim_start_matches('/'),
    };
    let found = FILES.iter().find(|(file, ..)| *file == name);
    let (status, content_type, body) = match found {
        Some((_, content_type, body)) => (StatusCode::OK, *content_type, *body),
        None => (StatusCode::NOT_FOUND, "text/plain; charset=utf-8", &b"nothing here\n"[..]),
    };
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (status, headers, body).into_response()
}
