//! Query strings as PHP parses them: `parse_str()`, and the query part of `parse_url()`.

use super::{
    array::Array,
    value::{Key, Value},
};

/// PHP's `max_input_vars`: further variables are dropped.
const MAX_VARIABLES: usize = 1000;

/// PHP's `max_input_nesting_level`: a variable with more brackets is dropped.
const MAX_BRACKETS: usize = 64;

/// The variables of a query string. `a[b]=1` and `a[]=1` create arrays, spaces and dots in names
/// become `_`, and the last of several with the same name counts.
pub fn parse_str(query: &[u8]) -> Array {
    let mut variables = Array::new();
    let query = query.split(|byte| *byte == 0).next().unwrap_or_default();
    let pairs = query.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty());
    for pair in pairs.take(MAX_VARIABLES) {
        let equals = pair.iter().position(|byte| *byte == b'=');
        let (name, value) = pair.split_at(equals.unwrap_or(pair.len()));
        let value = url_decode(value.strip_prefix(b"=").unwrap_or_default());
        register(&mut variables, url_decode(name), Value::Str(value.into()));
    }
    variables
}

fn register(variables: &mut Array, mut name: Vec<u8>, value: Value) {
    name.truncate(name.iter().position(|byte| *byte == 0).unwrap_or(name.len()));
    let start = name.iter().position(|byte| *byte != b' ').unwrap_or(name.len());
    let mut name = name.split_off(start);
    let bracket = name.iter().position(|byte| *byte == b'[').unwrap_or(name.len());
    underline(&mut name[..bracket]);
    if bracket == 0 {
        return;
    }
    let mut brackets = Brackets { rest: &name[bracket..] };
    let Some(first) = brackets.next() else {
        // No bracket, or an unclosed one, which is part of the name.
        underline(&mut name[bracket..]);
        variables.set(Key::from_text(name.into()), value);
        return;
    };
    let key = key(&name[..bracket]);
    let path: Vec<Option<Key>> = std::iter::once(first).chain(brackets).collect();
    if MAX_BRACKETS < path.len() {
        variables.remove(&key);
        return;
    }
    let Some((last, path)) = path.split_last() else {
        return;
    };
    let Some(mut array) = entered(variables, Some(key)) else {
        return;
    };
    for step in path {
        let Some(inner) = entered(array, step.clone()) else {
            return;
        };
        array = inner;
    }
    match last {
        Some(key) => array.set(key.clone(), value),
        None => drop(array.push(value)),
    }
}

/// The array under a key, or under the next free one. Replaces a value that is not an array.
fn entered(array: &mut Array, key: Option<Key>) -> Option<&mut Array> {
    let key = match key {
        Some(key) => {
            if array.get(&key).is_none_or(|value| value.as_array().is_none()) {
                array.set(key.clone(), Value::Array(Array::new()));
            }
            key
        }
        None => array.push_keyed(Value::Array(Array::new()))?,
    };
    match array.get_mut(&key) {
        Some(Value::Array(inner)) => Some(inner),
        _ => None,
    }
}

/// The contents of consecutive brackets: `None` for `[]` and `[ ]`.
struct Brackets<'a> {
    rest: &'a [u8],
}

impl Iterator for Brackets<'_> {
    type Item = Option<Key>;

    fn next(&mut self) -> Option<Self::Item> {
        let inside = self.rest.strip_prefix(b"[")?;
        let blank = usize::from(matches!(inside.first(), Some(b' ' | b'\t'..=b'\r')));
        let end = blank + inside[blank..].iter().position(|byte| *byte == b']')?;
        self.rest = &inside[end + 1..];
        Some((blank < end).then(|| key(&inside[..end])))
    }
}

fn key(text: &[u8]) -> Key {
    Key::from_text(text.to_vec().into())
}

fn underline(name: &mut [u8]) {
    for byte in name {
        if matches!(byte, b' ' | b'.' | b'[') {
            *byte = b'_';
        }
    }
}

fn url_decode(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, after @ ..] = rest {
        let digit = |at: usize| char::from(*after.get(at)?).to_digit(16);
        let (byte, used) = match (first, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => ((high << 4 | low) as u8, 3),
            (b'+', ..) => (b' ', 1),
            (byte, ..) => (*byte, 1),
        };
        decoded.push(byte);
        rest = &rest[used..];
    }
    decoded
}

/// The query of a request's target as `parse_url()` returns it, which is not always the text after
/// the question mark: a target that it cannot parse has none, and control characters become `_`.
pub fn query_of(target: &str) -> Vec<u8> {
    let before = |text: &str, stops: &[u8]| {
        text.bytes().position(|byte| stops.contains(&byte)).unwrap_or(text.len())
    };
    let path = &target[..before(target, b"?#")];
    if path.strip_prefix("//").map_or_else(|| looks_like_port(path, target), |it| !is_authority(it))
    {
        return Vec::new();
    }
    let target = &target[..before(target, b"#")];
    let query = target.split_once('?').map_or("", |(_, query)| query);
    query.bytes().map(|byte| if byte.is_ascii_control() { b'_' } else { byte }).collect()
}

/// Whether the first colon of a path is followed by a port: PHP then expects a host before it, and
/// parsing fails.
fn looks_like_port(path: &str, target: &str) -> bool {
    let Some((_, rest)) = path.split_once(':') else {
        return false;
    };
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let ends = match rest.as_bytes().get(digits) {
        Some(byte) => *byte == b'/',
        None => path.len() == target.len(),
    };
    path.starts_with('/') && (1..6).contains(&digits) && ends
}

/// Whether the text after two slashes begins with a host, with an optional user before it and an
/// optional port after it.
fn is_authority(text: &str) -> bool {
    let authority = text.split('/').next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    if host.starts_with('[') && host.ends_with(']') {
        return true;
    }
    let Some((host, port)) = host.rsplit_once(':') else {
        return !host.is_empty();
    };
    // Digits, then arbitrary bytes, up to five bytes in total.
    let digits = port.bytes().take_while(u8::is_ascii_digit).count();
    let port_fits = port.is_empty() || port.len() <= 5 && port[..digits].parse::<u16>().is_ok();
    !host.is_empty() && port_fits
}
