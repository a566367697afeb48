//! The query of a request, as servers' SDKs write it: parsed, and in the form that is signed.

use std::{borrow::Cow, collections::BTreeMap};

use percent_encoding::percent_decode_str;

/// The most parameters of a query.
const MOST: usize = 32;

/// The parameters of a query, with lower-case names.
#[derive(Debug)]
pub(crate) struct Query<'a> {
    pairs: Vec<Pair<'a>>,
    /// Whether `+` occurs, which is a space in forms, and itself in what some SDKs sign.
    has_plus: bool,
}

#[derive(Debug)]
struct Pair<'a> {
    /// Decoded, in lower case, with the brackets of a list.
    key: Vec<u8>,
    /// As received.
    value: &'a str,
}

/// A query of more than [`MOST`] parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("The query has more than {MOST} parameters")]
pub(crate) struct TooManyParameters;

/// How `+` is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Plus {
    Space,
    Itself,
}

impl<'a> Query<'a> {
    /// Splits the part of a URI behind `?`.
    ///
    /// # Errors
    /// [`TooManyParameters`].
    pub(crate) fn parse(query: &'a str) -> Result<Self, TooManyParameters> {
        let parts = query.split('&').filter(|part| !part.is_empty());
        let pairs: Vec<Pair<'a>> = parts
            .take(MOST + 1)
            .map(|part| {
                let (key, value) = part.split_once('=').unwrap_or((part, ""));
                Pair { key: decoded(key, Plus::Space).to_ascii_lowercase(), value }
            })
            .collect();
        match pairs.len() <= MOST {
            true => Ok(Self { pairs, has_plus: query.contains('+') }),
            false => Err(TooManyParameters),
        }
    }

    /// The value of a parameter; the values of one that occurs several times, or is a list, are
    /// joined by commas.
    pub(crate) fn get(&self, name: &str) -> Option<String> {
        let found = self.pairs.iter().filter(|pair| folded(&pair.key) == name.as_bytes());
        let values: Vec<String> =
            found.map(|pair| lossy(decoded(pair.value, Plus::Space).into_owned())).collect();
        (!values.is_empty()).then(|| values.join(","))
    }

    /// The forms of this query that an SDK may have signed, without the signature itself. The first
    /// is the documented one: decoded, sorted, lists joined by commas. The others occur only for
    /// queries with `+` or with lists.
    pub(crate) fn signed(&self) -> Vec<Vec<u8>> {
        let has_lists = self.pairs.iter().any(|pair| pair.key.contains(&b'['));
        let pluses = if self.has_plus { &[Plus::Space, Plus::Itself][..] } else { &[Plus::Space] };
        let joined = pluses.iter().map(|plus| self.joined(*plus));
        let separate = pluses.iter().filter(|_| has_lists).map(|plus| self.separate(*plus));
        joined.chain(separate).collect()
    }

    fn covered(&self) -> impl Iterator<Item = &Pair<'a>> {
        self.pairs.iter().filter(|pair| pair.key != b"auth_signature")
    }

    /// With the values of equal names, and of lists, joined by commas, as PHP's SDK signs them.
    fn joined(&self, plus: Plus) -> Vec<u8> {
        let mut values: BTreeMap<&[u8], Vec<u8>> = BTreeMap::new();
        for pair in self.covered() {
            let value = decoded(pair.value, plus);
            values
                .entry(folded(&pair.key))
                .and_modify(|joined| {
                    joined.push(b',');
                    joined.extend_from_slice(&value);
                })
                .or_insert_with(|| value.to_vec());
        }
        text(values.iter().map(|(key, value)| (*key, &value[..])))
    }

    /// With the brackets of lists and one pair for each of their values, as Ruby's SDK signs them.
    fn separate(&self, plus: Plus) -> Vec<u8> {
        let mut pairs: Vec<(&[u8], Cow<'_, [u8]>)> =
            self.covered().map(|pair| (&pair.key[..], decoded(pair.value, plus))).collect();
        pairs.sort_by_key(|(key, _)| *key);
        text(pairs.iter().map(|(key, value)| (*key, &value[..])))
    }
}

fn text<'b>(pairs: impl Iterator<Item = (&'b [u8], &'b [u8])>) -> Vec<u8> {
    let mut text = Vec::new();
    for (key, value) in pairs {
        if !text.is_empty() {
            text.push(b'&');
        }
        text.extend_from_slice(key);
        text.push(b'=');
        text.extend_from_slice(value);
    }
    text
}

/// The name of a list without its brackets: `info` of `info[]` and `info[0]`.
fn folded(key: &[u8]) -> &[u8] {
    match key.iter().position(|byte| *byte == b'[') {
        Some(at) if key.ends_with(b"]") => &key[..at],
        _ => key,
    }
}

/// Percent-decoded once. A `%` without two hexadecimal digits stays.
pub(crate) fn percent_decoded(text: &str) -> Cow<'_, [u8]> {
    decoded(text, Plus::Itself)
}

fn decoded(text: &str, plus: Plus) -> Cow<'_, [u8]> {
    match plus {
        Plus::Space if text.contains('+') => {
            Cow::Owned(percent_decode_str(&text.replace('+', " ")).collect())
        }
        _ => percent_decode_str(text).into(),
    }
}

fn lossy(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed(query: &str) -> Vec<String> {
        Query::parse(query).unwrap().signed().into_iter().map(lossy).collect()
    }

    #[test]
    fn query_is_signed_decoded_and_sorted_with_lower_case_names() {
        let php = "info=subscription_count%2Cuser_count&Auth_Key=k&auth_signature=ab";
        assert_eq!(signed(php), ["auth_key=k&info=subscription_count,user_count"]);
        assert_eq!(signed("b=2&a=1&&c"), ["a=1&b=2&c="]);
        assert_eq!(signed(""), [""]);
    }

    #[test]
    fn lists_are_signed_joined_or_with_their_brackets() {
        let expected = ["a=0&info=x,y", "a=0&info[0]=x&info[1]=y"];
        assert_eq!(signed("info[0]=x&info[1]=y&a=0"), expected);
        assert_eq!(signed("info%5B0%5D=x&info%5B1%5D=y&a=0"), expected);
        assert_eq!(signed("info[]=x&info[]=y"), ["info=x,y", "info[]=x&info[]=y"]);
        assert_eq!(signed("info=x&info=y"), ["info=x,y"]);
    }

    #[test]
    fn plus_is_a_space_or_itself() {
        assert_eq!(signed("a=b+c%2Bd"), ["a=b c+d", "a=b+c+d"]);
    }

    #[test]
    fn value_is_decoded_once_and_lists_are_joined() {
        let query = Query::parse("a=%2541&info[]=x&info[]=y&bad=%zz%4&k=%ff").unwrap();
        assert_eq!(query.get("a").as_deref(), Some("%41"));
        assert_eq!(query.get("info").as_deref(), Some("x,y"));
        assert_eq!(query.get("bad").as_deref(), Some("%zz%4"));
        assert_eq!(query.get("k").as_deref(), Some("\u{fffd}"));
        assert_eq!(query.get("absent"), None);
    }

    #[test]
    fn number_of_parameters_is_bounded() {
        let query = |pairs: usize| "a=1&".repeat(pairs);
        assert!(Query::parse(&query(MOST)).is_ok());
        assert_eq!(Query::parse(&query(MOST + 1)).unwrap_err(), TooManyParameters);
    }
}
