//! Tests of compression, with the examples of RFC 7692 and with hostile payloads.

use std::io::Write as _;

use flate2::write::DeflateEncoder;
use proptest::prelude::*;

use super::*;

/// A payload as a client sends it.
pub(crate) fn deflated(message: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::new(6));
    encoder.write_all(message).unwrap();
    encoder.flush().unwrap();
    encoder.get_ref().strip_suffix(&FLUSHED).unwrap().to_vec()
}

fn inflated(payload: &[u8], limit: usize) -> Result<Vec<u8>, Violation> {
    Inflater::default().inflate(payload, limit).map(<[u8]>::to_vec)
}

#[test]
fn examples_of_the_rfc_are_decompressed() {
    for payload in [
        // One block; with uncompressed data; with a final block; in two blocks.
        &b"\xf2\x48\xcd\xc9\xc9\x07\x00"[..],
        b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00",
        b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00",
        b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00",
        // A final block alone, as some senders leave it.
        b"\xf3\x48\xcd\xc9\xc9\x07\x00",
    ] {
        assert_eq!(inflated(payload, 5).as_deref(), Ok(&b"Hello"[..]), "{payload:x?}");
    }
    assert_eq!(inflated(b"\x00", 0), Ok(Vec::new()));
    assert_eq!(inflated(b"", 0), Ok(Vec::new()));
}

#[test]
fn decompression_stops_at_the_limit() {
    const LIMIT: usize = 100_000;
    let message = vec![0; 4 * 1024 * 1024];
    let bomb = deflated(&message);
    assert!(bomb.len() < message.len() / 500, "{} bytes", bomb.len());
    let mut inflater = Inflater::default();
    let too_long = Violation::TooLong { size: LIMIT as u64 + 1, limit: LIMIT };
    assert_eq!(inflater.inflate(&bomb, LIMIT), Err(too_long));
    assert_eq!(inflater.stream.as_ref().unwrap().total_out(), LIMIT as u64 + 1);
    assert!(inflater.out.capacity() <= 2 * LIMIT, "{} bytes", inflater.out.capacity());
    assert_eq!(inflater.take_counts(), Inflated::default());

    // The limit itself is accepted.
    assert_eq!(inflater.inflate(&deflated(&message[..LIMIT]), LIMIT).unwrap().len(), LIMIT);
    inflater.release();
    assert!(inflater.out.capacity() <= KEPT, "{} bytes", inflater.out.capacity());
    assert_eq!(inflater.inflate(&deflated(b"small"), LIMIT), Ok(&b"small"[..]));
}

#[test]
fn invalid_payload_is_refused() {
    let whole = deflated(b"a message that is long enough to be in pieces, in pieces, in pieces");
    let cut: Vec<&[u8]> = (1..whole.len()).map(|end| &whole[..end]).collect();
    let (reserved_block, bad_length) = (b"\x06", b"\x00\x05\x00\x00\x00");
    let (too_far, raw) = (b"\x4a\x04\x42\x00", b"{\"not\": \"compressed\"}");
    let wrong: [&[u8]; 4] = [reserved_block, bad_length, too_far, raw];
    for payload in cut.into_iter().chain(wrong) {
        assert_eq!(inflated(payload, 1000), Err(Violation::Deflate), "{payload:x?}");
    }
    // Each stream is two bytes long and empty.
    assert_eq!(inflated(&b"\x03\x00".repeat(MAX_STREAMS), 10), Ok(Vec::new()));
    assert_eq!(inflated(&b"\x03\x00".repeat(MAX_STREAMS + 1), 10), Err(Violation::Deflate));
}

#[test]
fn decompressor_is_usable_after_an_invalid_payload() {
    let mut inflater = Inflater::default();
    inflater.inflate(b"\x06", 100).unwrap_err();
    let payload = deflated(b"a message");
    assert_eq!(inflater.inflate(&payload, 100), Ok(&b"a message"[..]));
    let counts = Inflated { wire: payload.len() as u64, message: 9 };
    assert_eq!((inflater.take_counts(), inflater.take_counts()), (counts, Inflated::default()));
}

#[test]
fn payload_that_does_not_shrink_is_not_compressed() {
    let mut deflater = Deflater::new(1);
    // Numbers without a pattern.
    let noise: Vec<u8> =
        (1..5000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()).collect();
    for payload in [&b""[..], b"a", b"abc", &noise] {
        assert_eq!(deflater.deflate(payload), None, "{} bytes", payload.len());
    }
    let text = b"{\"type\":\"say\",\"type\":\"say\",\"type\":\"say\"}";
    let size = deflater.deflate(text).expect("it repeats itself").len();
    assert!(size < text.len() * 3 / 4, "{size} bytes");
    deflater.deflate(&vec![7; 1 << 20]).unwrap();
    deflater.release();
    assert!(deflater.out.capacity() <= KEPT, "{} bytes", deflater.out.capacity());
    deflater.deflate(text).unwrap();
}

#[test]
fn nothing_is_allocated_before_the_first_message() {
    let (deflater, inflater) = (Deflater::new(1), Inflater::default());
    assert!(deflater.stream.is_none() && inflater.stream.is_none());
    assert_eq!((deflater.out.capacity(), inflater.out.capacity()), (0, 0));
}

#[test]
fn message_is_decompressed_with_a_window_of_its_size() {
    // A client with a small window relies on this; its messages are no longer than the window.
    let message: Vec<u8> = (0..512_u32).map(|n| (n * n % 251) as u8 & 15).collect();
    let mut deflater = Deflater::new(9);
    let payload = deflater.deflate(&message).unwrap();
    let mut small = Decompress::new_with_window_bits(false, 9);
    let mut out = Vec::with_capacity(1000);
    for byte in payload.iter().chain(&FLUSHED) {
        small.decompress_vec(&[*byte], &mut out, FlushDecompress::Sync).unwrap();
    }
    assert_eq!(out, message);
}

proptest! {
    #[test]
    fn messages_survive_one_after_the_other(
        messages in prop::collection::vec(prop::collection::vec(0..4_u8, 0..2000), 1..5),
        level in 1..=9_u8,
    ) {
        let (mut deflater, mut inflater) = (Deflater::new(level), Inflater::default());
        for message in messages {
            if let Some(payload) = deflater.deflate(&message) {
                prop_assert!(payload.len() < message.len());
                prop_assert_eq!(inflater.inflate(payload, message.len()), Ok(&message[..]));
            }
            prop_assert_eq!(inflater.inflate(&deflated(&message), 2000), Ok(&message[..]));
        }
    }

    #[test]
    fn any_payload_is_decompressed_within_the_limit_or_refused(
        payload in prop::collection::vec(any::<u8>(), 0..300),
        limit in 0..500_usize,
    ) {
        if let Ok(message) = inflated(&payload, limit) {
            prop_assert!(message.len() <= limit);
        }
    }
}

/// Incompressible data: the compressor needs more space than the message has.
#[test]
fn incompressible_messages_of_any_size_leave_the_compressor_usable() {
    let mut random = 1_u64;
    let mut noise = |length: usize| -> Vec<u8> {
        let next = || {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (random >> 56) as u8
        };
        std::iter::repeat_with(next).take(length).collect()
    };
    for level in [1, 3, 9] {
        let mut deflater = Deflater::new(level);
        let text = b"the same words again and again, ".repeat(5000);
        for length in [1, 1000, 30_000, 65_000, 100_000, 131_072, 300_000, 70_000, 1_000_000] {
            // Text that ends in noise, so that the space ends at various points of a block.
            for share in [0, 1, 2, 3, 7] {
                let mixed = [&text[..text.len().min(length / 8 * share)], &noise(length)].concat();
                let _ = deflater.deflate(&mixed);
                assert!(deflater.stream.is_some(), "{length} bytes fit at level {level}");
                let deflated = deflater.deflate(&text).unwrap().to_vec();
                assert_eq!(Inflater::default().inflate(&deflated, text.len()).unwrap(), text);
            }
        }
    }
}
