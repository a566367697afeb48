//! Content of messages for measurements of compression.

use std::io::Write as _;

const NAMES: [&str; 8] = ["ann", "bob", "carol", "dmitri", "erin", "fatima", "guo", "hana"];
const WORDS: [&str; 16] = [
    "hello", "are", "you", "there", "the", "order", "has", "arrived", "at", "gate", "seven",
    "please", "wait", "for", "next", "train",
];

/// So many bytes of JSON: a list of chat messages, with names, words, ids and times that vary.
pub(crate) fn json(size: usize) -> Vec<u8> {
    let mut out = b"[".to_vec();
    for number in 1_u32.. {
        if size <= out.len() {
            break;
        }
        let mixed = number.wrapping_mul(2_654_435_761);
        let pick = |at: u32| WORDS[(mixed >> at) as usize % WORDS.len()];
        let name = NAMES[(mixed >> 28) as usize % NAMES.len()];
        let (one, two, three, four) = (pick(3), pick(9), pick(15), pick(21));
        // Writing to memory cannot fail.
        let _ = write!(
            out,
            "{{\"type\":\"message\",\"id\":\"{mixed:08x}\",\"from\":\"{name}\",\
             \"text\":\"{one} {two} {three} {four}\",\"at\":{}}},",
            1_760_000_000_000 + u64::from(mixed % 86_400_000)
        );
    }
    out.truncate(size);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_has_the_size_and_varies() {
        let content = String::from_utf8(json(1024)).unwrap();
        assert_eq!(content.len(), 1024);
        assert!(content.starts_with("[{\"type\":\"message\",\"id\":\"9e3779b1\","), "{content}");
        assert!(1 < NAMES.iter().filter(|name| content.contains(**name)).count());
        assert!(json(0).is_empty());
    }
}
