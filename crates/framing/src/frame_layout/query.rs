//! The text form of a layout: the query of a listener's URL.

use std::{
    fmt::{self, Display},
    str::FromStr,
};

use thiserror::Error;

use super::{Counts, FrameLayout, Header, Kind, LengthField, Order};

/// The parameters, in the order in which they are written.
const PARAMETERS: [&str; 6] = ["length", "offset", "counts", "adjust", "header", "kind"];

const LENGTHS: [(&str, LengthField); 7] = [
    ("u8", LengthField { width: 1, order: Order::BigEndian }),
    ("u16be", LengthField { width: 2, order: Order::BigEndian }),
    ("u16le", LengthField { width: 2, order: Order::LittleEndian }),
    ("u24be", LengthField { width: 3, order: Order::BigEndian }),
    ("u24le", LengthField { width: 3, order: Order::LittleEndian }),
    ("u32be", LengthField { width: 4, order: Order::BigEndian }),
    ("u32le", LengthField { width: 4, order: Order::LittleEndian }),
];

const COUNTS: [(&str, Counts); 2] = [("payload", Counts::Payload), ("frame", Counts::Frame)];

const HEADERS: [(&str, Header); 2] = [("keep", Header::Keep), ("strip", Header::Strip)];

const KINDS: [(&str, Kind); 2] = [("binary", Kind::Binary), ("text", Kind::Text)];

/// Largest absolute value of `adjust`.
const MAX_ADJUST: i16 = i16::MAX;

/// The error in a query, with the name of its parameter.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidLayout {
    /// Without a length there is nothing to read the size of a frame from.
    #[error("length: is required, one of {}", names(&LENGTHS))]
    NoLength,
    /// A parameter that does not exist.
    #[error("{name:?} is not a parameter, expected {}", PARAMETERS.join(", "))]
    Unknown { name: String },
    /// A parameter that is given twice.
    #[error("{0}: is given twice")]
    Twice(&'static str),
    /// A value that the parameter does not have.
    #[error("{parameter}: {value:?} is not {expected}")]
    Value { parameter: &'static str, value: String, expected: String },
    /// The bytes before the length are in no message, so they cannot be written.
    #[error("header: strip requires offset=0, or the bytes before the length would be lost")]
    StripsOffset,
    /// Every length is a protocol violation.
    #[error("adjust: {0} makes the largest frame shorter than its header")]
    NoFrames(i16),
}

impl FromStr for FrameLayout {
    type Err = InvalidLayout;

    fn from_str(query: &str) -> Result<Self, InvalidLayout> {
        let mut given = [None; PARAMETERS.len()];
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let Some(at) = PARAMETERS.iter().position(|known| *known == name) else {
                return Err(InvalidLayout::Unknown { name: name.to_owned() });
            };
            if given[at].replace(value).is_some() {
                return Err(InvalidLayout::Twice(PARAMETERS[at]));
            }
        }
        let [length, offset, counts, adjust, header, kind] = given;
        let length = one_of("length", length, &LENGTHS)?.ok_or(InvalidLayout::NoLength)?;
        let offset = number("offset", offset, u8::MIN, u8::MAX)?;
        let default = if offset == 0 { Header::Strip } else { Header::Keep };
        let layout = Self {
            length,
            offset,
            counts: one_of("counts", counts, &COUNTS)?.unwrap_or(Counts::Payload),
            adjust: number("adjust", adjust, -MAX_ADJUST, MAX_ADJUST)?,
            header: one_of("header", header, &HEADERS)?.unwrap_or(default),
            kind: one_of("kind", kind, &KINDS)?.unwrap_or(Kind::Binary),
        };
        if layout.header == Header::Strip && layout.offset != 0 {
            return Err(InvalidLayout::StripsOffset);
        }
        let largest = layout.uncounted() + i64::from(length.max()) + i64::from(layout.adjust);
        if largest < layout.header_size() as i64 {
            return Err(InvalidLayout::NoFrames(layout.adjust));
        }
        Ok(layout)
    }
}

/// All parameters, with their defaults.
impl Display for FrameLayout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { length, offset, counts, adjust, header, kind } = *self;
        let (length, counts) = (name_of(length, &LENGTHS), name_of(counts, &COUNTS));
        let (header, kind) = (name_of(header, &HEADERS), name_of(kind, &KINDS));
        write!(f, "length={length}&offset={offset}&counts={counts}")?;
        write!(f, "&adjust={adjust}&header={header}&kind={kind}")
    }
}

fn one_of<T: Copy>(
    parameter: &'static str,
    value: Option<&str>,
    known: &[(&str, T)],
) -> Result<Option<T>, InvalidLayout> {
    let Some(value) = value else { return Ok(None) };
    match known.iter().find(|(name, _)| *name == value) {
        Some((_, known)) => Ok(Some(*known)),
        None => {
            let expected = format!("one of {}", names(known));
            Err(InvalidLayout::Value { parameter, value: value.to_owned(), expected })
        }
    }
}

/// A number in a range; 0 if it is not given.
fn number<T>(
    parameter: &'static str,
    value: Option<&str>,
    least: T,
    most: T,
) -> Result<T, InvalidLayout>
where
    T: FromStr + PartialOrd + Default + Display,
{
    let Some(value) = value else { return Ok(T::default()) };
    let number = value.parse().ok().filter(|number| (&least..=&most).contains(&number));
    number.ok_or_else(|| {
        let expected = format!("a number from {least} to {most}");
        InvalidLayout::Value { parameter, value: value.to_owned(), expected }
    })
}

fn names<T>(known: &[(&str, T)]) -> String {
    known.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

fn name_of<T: PartialEq>(value: T, known: &[(&'static str, T)]) -> &'static str {
    known.iter().find(|(_, known)| *known == value).map_or("", |(name, _)| name)
}
