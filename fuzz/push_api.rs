//! The push API: commands in JSON, names in paths, pairs of queries.

use http_api::{
    Caller, Operation,
    bytes_text::{from_base64, from_hex, from_percent, from_query, to_base64, to_hex},
};

/// A command, or the text of a path or query.
pub fn push_api(bytes: &[u8]) {
    if let Ok(command) = serde_json::from_slice::<Operation>(bytes) {
        command.check(&Caller::unrestricted()).expect("it has every scope");
    }
    assert_eq!(from_base64(&to_base64(bytes)).as_deref(), Some(bytes));
    assert_eq!(from_hex(&to_hex(bytes)).as_deref(), Some(bytes));
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Some(decoded) = from_base64(text) {
        assert_eq!(from_base64(&to_base64(&decoded)), Some(decoded));
    }
    assert!(from_percent(text).is_none_or(|decoded| decoded.len() <= text.len()));
    let _ = (from_query(text), from_hex(text));
}
