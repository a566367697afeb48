//! Text on its way to a page that inserts it as HTML.

/// Escapes what means something in HTML, as PHP's `htmlspecialchars` does with `ENT_QUOTES`.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#039;"),
            char => escaped.push(char),
        }
    }
    escaped
}

/// Escapes, and turns each line break of whatever kind into a `<br />`.
pub(super) fn escape_lines(text: &str) -> String {
    let escaped = escape(text);
    let mut lines = String::with_capacity(escaped.len());
    let mut chars = escaped.chars().peekable();
    while let Some(char) = chars.next() {
        let other_half = match char {
            '\r' => '\n',
            '\n' => '\r',
            char => {
                lines.push(char);
                continue;
            }
        };
        chars.next_if_eq(&other_half);
        lines.push_str("<br />");
    }
    lines
}

/// Whether a text has more than `limit` characters.
pub(super) fn is_longer(text: &str, limit: usize) -> bool {
    limit < text.len() && text.chars().nth(limit).is_some()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_means_something_in_html_is_escaped_as_php_does() {
        assert_eq!(escape(r#"<b a="1">&amp;'"#), "&lt;b a=&quot;1&quot;&gt;&amp;amp;&#039;");
        assert_eq!(escape("中文 😀"), "中文 😀");
    }

    #[test]
    fn every_kind_of_line_break_is_one() {
        assert_eq!(
            escape_lines("a\nb\r\nc\rd\n\re\n\nf"),
            "a<br />b<br />c<br />d<br />e<br /><br />f"
        );
        assert_eq!(escape_lines("<br />"), "&lt;br /&gt;");
    }

    #[test]
    fn length_is_in_characters() {
        assert!(!is_longer("中文", 2));
        assert!(is_longer("中文字", 2));
        assert!(!is_longer("", 0));
    }

    proptest! {
        #[test]
        fn no_tag_and_no_quote_survives(text in "\\PC*") {
            let escaped = escape(&text);
            prop_assert!(!escaped.contains(['<', '>', '"', '\'']));
            prop_assert_eq!(escape_lines(&text).replace("<br />", "").contains('<'), false);
        }
    }
}
