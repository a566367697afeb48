//! Every reason for which a client is closed, under the name of its golden bytes.

use push_suite_protocol::CloseReason;

/// Other crates cannot match the reasons without a wildcard, hence `ALL`.
pub(crate) fn close_reasons() -> Vec<(&'static str, CloseReason)> {
    let all = vec![
        ("client", CloseReason::Client),
        ("worker", CloseReason::Worker),
        ("timeout", CloseReason::Timeout),
        ("slow", CloseReason::Slow),
        ("protocol", CloseReason::Protocol),
        ("handshake", CloseReason::Handshake),
        ("no-worker", CloseReason::NoWorker),
        ("shutdown", CloseReason::Shutdown),
        ("gateway-lost", CloseReason::GatewayLost),
        ("undeliverable", CloseReason::Undeliverable),
        ("token", CloseReason::Token),
        ("rate-limit", CloseReason::RateLimit),
        ("uid-limit", CloseReason::UidLimit),
        ("unauthenticated", CloseReason::Unauthenticated),
    ];
    assert!(all.iter().map(|(_, reason)| reason).eq(CloseReason::ALL));
    all
}
