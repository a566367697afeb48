//! The close frame of each cause, and the public list of them.

use service::settings::Compat;

use super::*;

#[test]
fn strict_mode_sends_close_frame_only_in_reply() {
    let strict = CompatBehavior::from(Compat::Strict);
    let down = CloseCause::ShuttingDown { retry_after: Duration::ZERO };
    for closed in
        [CloseCause::ByWorker(CloseFrame::default()), down, CloseCause::Violation(Violation::Utf8)]
    {
        assert_eq!(closed.close_action(&strict, None), CloseAction::Flush, "{closed}");
    }
    let alone = CloseCause::NoWorker { retry_after: Duration::ZERO };
    for closed in [alone, CloseCause::Slow, CloseCause::Silent, CloseCause::Destroyed] {
        assert_eq!(closed.close_action(&strict, None), CloseAction::None, "{closed}");
    }
    for code in [None, Some(1001), Some(3000)] {
        assert_eq!(by_client(code).close_action(&strict, None), CloseAction::Code(Some(1000)));
        assert_eq!(
            by_client(code).close_action(&Compat::Default.into(), None),
            CloseAction::Code(code)
        );
    }
}

fn by_client(code: Option<u16>) -> CloseCause {
    CloseCause::ByClient(ClientFrame { code, ..ClientFrame::default() })
}

/// One value of every cause; one for each code of those that have several. A cause that is not here
/// does not compile.
fn every_cause() -> Vec<CloseCause> {
    let retry_after = Duration::ZERO;
    let frame = |code| CloseFrame::new(code, "").unwrap();
    let all = vec![
        by_client(Some(1000)),
        CloseCause::Ended,
        CloseCause::Lost(io::ErrorKind::ConnectionReset.into()),
        CloseCause::ByWorker(CloseFrame::default()),
        CloseCause::ByWorker(frame(3000)),
        CloseCause::Destroyed,
        CloseCause::Silent,
        CloseCause::Slow,
        CloseCause::Violation(Violation::Protocol("")),
        CloseCause::Violation(Violation::Utf8),
        CloseCause::Violation(Violation::TooLong { size: 2, limit: 1 }),
        CloseCause::ProxyHeader(InvalidHeader::Missing),
        CloseCause::BadRequest(BadRequest::TooLong),
        CloseCause::Refused(Refusal::Origin),
        CloseCause::HandshakeRefused(protocol::Refusal::new(401, "").unwrap().into()),
        CloseCause::InvalidGrant,
        CloseCause::Undecided { retry_after },
        CloseCause::AddressLimit(AddressLimit::Connections),
        CloseCause::RateLimit,
        CloseCause::TooManyUndecided { retry_after },
        CloseCause::Unauthenticated,
        CloseCause::Answered,
        CloseCause::HandshakeTimeout,
        CloseCause::NoWorker { retry_after },
        CloseCause::OverBudget { retry_after },
        CloseCause::Undeliverable,
        CloseCause::TokenExpired,
        CloseCause::TokenRevoked,
        CloseCause::TokenOfOtherUser,
        CloseCause::UidLimit(Keep::Oldest),
        CloseCause::UidLimit(Keep::Newest),
        CloseCause::ShuttingDown { retry_after },
    ];
    for cause in &all {
        match cause {
            CloseCause::ByClient(_)
            | CloseCause::Ended
            | CloseCause::Lost(_)
            | CloseCause::ByWorker(_)
            | CloseCause::Destroyed
            | CloseCause::Silent
            | CloseCause::Slow
            | CloseCause::Violation(_)
            | CloseCause::ProxyHeader(_)
            | CloseCause::BadRequest(_)
            | CloseCause::Refused(_)
            | CloseCause::HandshakeRefused(_)
            | CloseCause::InvalidGrant
            | CloseCause::Undecided { .. }
            | CloseCause::AddressLimit(_)
            | CloseCause::RateLimit
            | CloseCause::TooManyUndecided { .. }
            | CloseCause::Unauthenticated
            | CloseCause::Answered
            | CloseCause::HandshakeTimeout
            | CloseCause::NoWorker { .. }
            | CloseCause::OverBudget { .. }
            | CloseCause::Undeliverable
            | CloseCause::TokenExpired
            | CloseCause::TokenRevoked
            | CloseCause::TokenOfOtherUser
            | CloseCause::UidLimit(_)
            | CloseCause::ShuttingDown { .. } => {}
        }
    }
    all
}

/// The code, cause and reason of a row of the list.
fn row(cause: &CloseCause) -> [String; 3] {
    let (code, reason) = match cause.close_action(&Compat::Default.into(), None) {
        CloseAction::Frame(frame) if !matches!(cause, CloseCause::ByWorker(_)) => {
            return [
                frame.code().to_string(),
                format!("`{cause}`"),
                format!("`{}`", frame.reason()),
            ];
        }
        CloseAction::None | CloseAction::Flush => ("none".to_owned(), ""),
        CloseAction::Code(_) if matches!(cause, CloseCause::ByClient(_)) => {
            ("the client's".to_owned(), "")
        }
        CloseAction::Code(code) => (code.unwrap().to_string(), ""),
        CloseAction::Frame(frame) if frame.is_default() => ("1000".to_owned(), "the application's"),
        CloseAction::Frame(_) => ("3000–4999".to_owned(), "the application's"),
        CloseAction::RetryAfter { code, .. } => (code.to_string(), "`retry-after=SECONDS`"),
    };
    // The text of a log line, without its details.
    let cause = cause.to_string();
    let cause = cause.split(':').next().unwrap_or_default();
    [code, format!("`{cause}`"), reason.to_owned()]
}

#[test]
fn public_list_has_the_code_and_reason_of_every_cause() {
    let list = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/close-codes.md");
    let list = std::fs::read_to_string(list).unwrap();
    let (_, table) = list.split_once("| code | cause |").unwrap();
    let (table, _) = table.split_once("\n\n").unwrap();
    let listed: Vec<[String; 3]> = table
        .lines()
        .skip(2)
        .map(|line| {
            let mut cells = line.split('|').skip(1).map(|cell| cell.trim().to_owned());
            std::array::from_fn(|_| cells.next().unwrap())
        })
        .collect();
    let sent: Vec<_> = every_cause().iter().map(row).collect();
    for row in &sent {
        assert!(listed.contains(row), "docs/close-codes.md does not list {row:?}");
    }
    for row in &listed {
        assert!(sent.contains(row), "docs/close-codes.md lists {row:?}, which is never sent");
    }
}

#[test]
fn client_that_awaits_the_answer_to_its_handshake_gets_a_status() {
    let retry_after = Duration::ZERO;
    for (cause, status) in [
        (CloseCause::ByWorker(CloseFrame::default()), "403 Forbidden"),
        (CloseCause::UidLimit(Keep::Oldest), "409 Conflict"),
        (CloseCause::Undeliverable, "500 "),
        (CloseCause::NoWorker { retry_after }, "503 "),
        (CloseCause::ShuttingDown { retry_after }, "503 "),
    ] {
        let response = cause.handshake_response(true).unwrap();
        assert!(response.starts_with(format!("HTTP/1.1 {status}").as_bytes()), "{response:?}");
        assert_eq!(cause.handshake_response(false), None, "{cause}");
    }
}

#[test]
fn reasons_in_metrics_are_documented() {
    let document = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/running.md");
    let document = std::fs::read_to_string(document).unwrap();
    let row = |metric: &str| {
        let start = format!("| `pushsuite_gateway_{metric}_total{{reason}}` |");
        document.lines().find(|line| line.starts_with(&start)).unwrap()
    };
    let (closed, refused) = (row("clients_closed"), row("handshakes_refused"));
    for cause in every_cause() {
        let reason = cause.reason().name();
        assert!(closed.contains(&format!("`{reason}`")), "closed: {reason}");
        if let Some(refusal) = cause.refusal() {
            assert!(refused.contains(&format!("`{refusal}`")), "refused: {refusal}");
        }
    }
}

#[test]
fn code_of_a_worker_is_sent_only_where_close_frames_are() {
    let cause = CloseCause::ByWorker(CloseFrame::new(4403, "banned").unwrap());
    assert_eq!(cause.close_action(&Compat::Strict.into(), None), CloseAction::Flush);
    let action = cause.close_action(&Compat::Default.into(), None);
    assert_eq!(action, CloseAction::Frame(CloseFrame::new(4403, "banned").unwrap()));
}

#[test]
fn codes_of_a_protocol_replace_those_of_every_close_frame_of_the_gateway() {
    let codes = CloseCodes::new(CloseKind::ALL.map(|kind| (kind, 4000 + kind as u16))).unwrap();
    let mut seen = Vec::new();
    for cause in every_cause() {
        let own = cause.close_action(&Compat::Default.into(), None);
        let replaced = cause.close_action(&Compat::Default.into(), Some(&codes));
        assert_eq!(cause.close_action(&Compat::Default.into(), Some(&CloseCodes::default())), own);
        let strict = cause.close_action(&Compat::Strict.into(), Some(&codes));
        assert_eq!(strict, cause.close_action(&Compat::Strict.into(), None), "{cause}");
        let Some(kind) = cause.kind() else {
            let is_of_others = matches!(cause, CloseCause::ByClient(_) | CloseCause::ByWorker(_));
            assert!(is_of_others || !own.sends_frame(), "{cause} has no kind");
            assert_eq!(replaced, own);
            continue;
        };
        seen.push(kind);
        let code = 4000 + kind as u16;
        assert_eq!(replaced, own.clone().with_code(code), "{cause}");
        assert!(
            matches!(
                (&replaced, &own),
                (CloseAction::Code(Some(it)), CloseAction::Code(_)) if *it == code
            ) || matches!(
                (&replaced, &own),
                (CloseAction::Frame(it), CloseAction::Frame(own))
                    if it.code() == code && it.reason() == own.reason()
            ) || matches!(
                (&replaced, &own),
                (CloseAction::RetryAfter { code: it, after }, CloseAction::RetryAfter { after: own, .. })
                    if *it == code && after == own
            ),
            "{replaced:?}"
        );
    }
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen, CloseKind::ALL);
}
