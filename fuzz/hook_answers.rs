//! Answers of webhooks, and their URLs and secrets in the settings file.

use bytes::Bytes;
use hooks::{answer, signature::Secret, url::HookUrl};
use http::StatusCode;

/// The content types of an answer: JSON, text and others.
const TYPES: [&str; 3] = ["application/json; charset=utf-8", "text/plain", "image/png"];

/// The first byte selects the content type, the rest is the body; and the text of a URL and of a
/// secret.
pub fn hook_answer(bytes: &[u8]) {
    let Some((first, body)) = bytes.split_first() else { return };
    let kind = TYPES[usize::from(*first) % TYPES.len()];
    if let Ok(accepted) = answer::connect(kind, body) {
        // Everything in it can be granted.
        accepted.grant().expect("checked when it was read");
    }
    let answered = answer::message(StatusCode::OK, kind, &Bytes::copy_from_slice(body));
    if let Ok(answered) = answered {
        assert!(answered.commands.len() <= 1_000);
    }
    let _ = answer::close(kind, body);
    let _ = answer::refusal(kind, body);
    let text = String::from_utf8_lossy(body);
    if let Ok(url) = HookUrl::parse(&text) {
        assert!(url.target().starts_with('/') && !url.host().is_empty());
        assert!(!url.to_string().contains('?'));
    }
    let _ = Secret::parse(&text);
}
