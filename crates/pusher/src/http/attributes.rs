//! The attributes of a channel that a request asks for.

/// A set of attributes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Attributes {
    /// Distinct users of a presence channel.
    pub(crate) user_count: bool,
    /// Subscribed connections.
    pub(crate) subscription_count: bool,
    /// The last event of a cache channel.
    pub(crate) cache: bool,
}

/// A word that is no attribute.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Unknown info {0:?}: there are user_count, subscription_count and cache")]
pub(crate) struct UnknownAttribute(String);

impl Attributes {
    /// Reads a list with commas.
    ///
    /// # Errors
    /// The first unknown word.
    pub(crate) fn parse(list: &str) -> Result<Self, UnknownAttribute> {
        let mut found = Self::default();
        for word in list.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            match word {
                "user_count" => found.user_count = true,
                "subscription_count" => found.subscription_count = true,
                "cache" => found.cache = true,
                _ => return Err(UnknownAttribute(super::publication::shown(word))),
            }
        }
        Ok(found)
    }

    /// Whether there is none.
    pub(crate) fn is_empty(self) -> bool {
        self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_of_attributes_is_read_in_any_order() {
        assert!(Attributes::parse("").unwrap().is_empty());
        let both = Attributes::parse(" subscription_count,user_count,,user_count").unwrap();
        let expected = Attributes { user_count: true, subscription_count: true, cache: false };
        assert_eq!(both, expected);
        assert!(Attributes::parse("cache").unwrap().cache);
        let error = Attributes::parse("user_count,secret\n").unwrap_err();
        assert_eq!(error, UnknownAttribute("secret".to_owned()));
        assert!(Attributes::parse("a\nb").unwrap_err().to_string().contains(r#""a\nb""#));
    }
}
