//! The token of the page.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use runtime::random::random;

/// A random token, which a request shows in its `Authorization`.
#[derive(Clone)]
pub(super) struct Token(String);

impl Token {
    /// 128 random bits.
    pub(super) fn random() -> Self {
        Self(format!("{:032x}", random::<u128>()))
    }

    /// The token itself, for the address of the page.
    pub(super) fn expose(&self) -> &str {
        &self.0
    }

    /// Whether the value of `Authorization` has it. The time that this takes says nothing of it.
    pub(super) fn is_in(&self, authorization: Option<&str>) -> bool {
        let shown = authorization.and_then(|value| value.strip_prefix("Bearer "));
        shown.is_some_and(|shown| {
            verify_slices_are_equal(shown.as_bytes(), self.0.as_bytes()).is_ok()
        })
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_is_accepted_as_a_whole_only() {
        let token = Token::random();
        let value = format!("Bearer {}", token.expose());
        assert!(token.is_in(Some(&value)));
        for wrong in
            ["", "Bearer ", token.expose(), &value[..value.len() - 1], &format!("{value} ")]
        {
            assert!(!token.is_in(Some(wrong)), "{wrong}");
        }
        assert!(!token.is_in(None));
        assert_ne!(token.expose(), Token::random().expose());
        assert_eq!(format!("{token:?}"), "Token(…)");
    }
}
