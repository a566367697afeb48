//! Close codes and refusals, as the documents list them: these are part of the program, so that
//! there is one source.

mod tables;

use serde::Serialize;
use tables::{Row, rows};

/// The documents with tables of codes.
const CLOSE_CODES: &str = include_str!("../../../../docs/close-codes.md");
const TOKENS: &str = include_str!("../../../../docs/tokens.md");
const PUSHER: &str = include_str!("../../../../docs/pusher.md");

/// A code, or a cause without one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Meaning {
    /// The close code, a range of them, the code of a refused handshake, or `none`.
    pub(crate) code: String,
    /// The cause, as in the log line `client closed`.
    pub(crate) cause: String,
    /// The reason in the close frame, or the HTTP status of a refused handshake.
    pub(crate) reason: String,
    /// Whether a client comes back by itself; empty where the document does not say.
    pub(crate) comes_back: String,
    /// Meaning, and when it is sent.
    pub(crate) meaning: String,
    /// The document, with details.
    pub(crate) document: &'static str,
}

/// Every code, in the order of the documents.
pub(crate) fn meanings() -> Vec<Meaning> {
    let gateway = rows(CLOSE_CODES, &["code", "cause", "reason", "come back"]);
    let gateway = gateway.into_iter().map(|row: Row| Meaning {
        code: row.text(0),
        cause: row.text(1),
        reason: row.text(2),
        comes_back: row.text(3),
        meaning: row.text(4),
        document: "docs/close-codes.md",
    });
    let applications = rows(CLOSE_CODES, &["code", "reason", "sent by", "meaning"]);
    let applications = applications.into_iter().map(|row| Meaning {
        code: row.text(0),
        cause: format!("closed by a worker: {}", row.text(2)),
        reason: row.text(1),
        comes_back: String::new(),
        meaning: row.text(3),
        document: "docs/close-codes.md",
    });
    let pusher = rows(PUSHER, &["code", "cause", "pusher-js"]);
    let pusher = pusher.into_iter().map(|row| Meaning {
        code: row.text(0),
        cause: "--app pusher".to_owned(),
        reason: String::new(),
        comes_back: row.text(2),
        meaning: row.text(1),
        document: "docs/pusher.md",
    });
    let tokens = rows(TOKENS, &["status", "code", "cause"]);
    let tokens = tokens.into_iter().map(|row| Meaning {
        code: row.text(1),
        cause: "handshake refused: --handshake-auth jwt".to_owned(),
        reason: format!("HTTP {}", row.text(0)),
        comes_back: String::new(),
        meaning: row.text(2),
        document: "docs/tokens.md",
    });
    gateway.chain(applications).chain(pusher).chain(tokens).collect()
}

/// Those of a number, a code of a refused handshake, or part of a cause or reason.
pub(crate) fn explain(asked: &str) -> Vec<Meaning> {
    let all = meanings();
    if let Ok(number) = asked.parse::<u16>() {
        return all.into_iter().filter(|meaning| has_number(&meaning.code, number)).collect();
    }
    let asked = asked.to_lowercase();
    let exact: Vec<_> = all.iter().filter(|meaning| meaning.code == asked).cloned().collect();
    if !exact.is_empty() {
        return exact;
    }
    let contains = |meaning: &Meaning| {
        let texts = [&meaning.cause, &meaning.reason, &meaning.meaning];
        texts.iter().any(|text| text.to_lowercase().contains(&asked))
    };
    all.into_iter().filter(contains).collect()
}

/// Those of a close with this cause, and with this code if one of them has it.
pub(crate) fn of_close(cause: &str, code: Option<u16>) -> Vec<Meaning> {
    let mut all = meanings();
    all.retain(|meaning| meaning.cause == cause);
    let has_code = |meaning: &Meaning| code.is_some_and(|code| has_number(&meaning.code, code));
    if all.iter().any(has_code) {
        all.retain(has_code);
    }
    all
}

/// Whether a list of codes and ranges, such as `4006, 4007` or `3000–4999`, has this one.
fn has_number(codes: &str, number: u16) -> bool {
    codes.split(',').any(|part| {
        let mut ends = part.split('–').map(|end| end.trim().parse::<u16>());
        match (ends.next(), ends.next()) {
            (Some(Ok(first)), Some(Ok(last))) => (first..=last).contains(&number),
            (Some(Ok(only)), None) => only == number,
            _ => false,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn causes(asked: &str) -> Vec<String> {
        explain(asked).into_iter().map(|meaning| meaning.cause).collect()
    }

    #[test]
    fn number_is_explained_with_every_cause_that_has_it() {
        let found = causes("1013");
        let expected = ["no worker for its events", "memory budget exceeded", "send queue full"];
        assert_eq!(found, expected);
        assert!(causes("4401").contains(&"token expired".to_owned()), "{:?}", causes("4401"));
        assert!(causes("4007").contains(&"--app pusher".to_owned()), "in a list");
        assert_eq!(causes("3123"), ["closed by a worker"], "in a range");
        assert!(causes("1005").is_empty() && causes("2000").is_empty());
    }

    #[test]
    fn cause_and_code_of_a_refusal_are_explained() {
        assert_eq!(causes("Ping Timeout"), ["ping timeout"]);
        let refused = explain("token_revoked");
        assert_eq!((refused.len(), refused[0].reason.as_str()), (1, "HTTP 401"));
        assert!(explain("no such cause").is_empty());
    }

    #[test]
    fn close_is_explained_by_its_cause_and_code() {
        let codes = |cause: &str, code| -> Vec<String> {
            of_close(cause, code).into_iter().map(|meaning| meaning.code).collect()
        };
        assert_eq!(codes("closed by a worker", Some(4403)), ["3000–4999"]);
        assert_eq!(codes("closed by a worker", Some(1000)), ["1000"]);
        assert_eq!(codes("send queue full", Some(4100)), ["1013"], "the code of a protocol");
        assert_eq!(codes("connection lost", None), ["none"]);
        assert!(codes("no such cause", None).is_empty());
    }

    #[test]
    fn every_document_has_its_table() {
        for document in ["docs/close-codes.md", "docs/tokens.md", "docs/pusher.md"] {
            let of = meanings().into_iter().filter(|meaning| meaning.document == document).count();
            assert!(5 <= of, "{document}: {of}");
        }
        let without = meanings().into_iter().filter(|meaning| meaning.code == "none").count();
        assert!(10 < without, "{without}");
    }
}
