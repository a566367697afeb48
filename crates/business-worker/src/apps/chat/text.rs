//! Escapes text that the page inserts as HTML.

/// Escapes HTML special characters, as PHP's `htmlspecialchars` with `ENT_QUOTES`.
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

/// Escapes text, and converts each line break of any kind into `<br />`.
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
    fn html_special_characters_are_escaped_as_in_php() {
        assert_eq!(escape(r#"<b a="1">&amp;'"#), "&lt;b a=&quot;1&quot;&gt;&amp;amp;&#039;");
        assert_eq!(escape("中文 😀"), "中文 😀");
    }

    #[test]
    fn line_break_of_any_kind_is_one_br() {
        assert_eq!(
            escape_lines("a\nb\r\nc\rd\n\re\n\nf"),
            "a<br />b<br />c<br />d<br />e<br /><br />f"
        );
        assert_eq!(escape_lines("<br />"), "&lt;br /&gt;");
    }

    #[test]
    fn length_is_counted_in_characters() {
        assert!(!is_longer("中文", 2));
        assert!(is_longer("中文字", 2));
        assert!(!is_longer("", 0));
    }

    proptest! {
        #[test]
        fn escaped_text_contains_no_tag_or_quote(text in "\\PC*") {
            let escaped = escape(&text);
            prop_assert!(!escaped.contains(['<', '>', '"', '\'']));
            prop_assert_eq!(escape_lines(&text).replace("<br />", "").contains('<'), false);
        }
    }
}
