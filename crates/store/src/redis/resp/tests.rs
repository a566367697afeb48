//! Answers byte by byte, and bytes that no server should send.

use proptest::prelude::*;

use super::*;

fn decode(bytes: &[u8]) -> Result<Option<Value>, Garbage> {
    Decoder::default().decode(&mut BytesMut::from(bytes))
}

fn bulk(bytes: &[u8]) -> Value {
    Value::Bulk(Bytes::copy_from_slice(bytes))
}

#[test]
fn request_is_an_array_of_strings() {
    let mut out = BytesMut::new();
    encode([&b"EVAL"[..], b"", b"a\r\nb"].into_iter(), &mut out);
    assert_eq!(out, "*3\r\n$4\r\nEVAL\r\n$0\r\n\r\n$4\r\na\r\nb\r\n");
}

#[test]
fn answers_of_each_type_are_read() {
    for (bytes, value) in [
        (&b"+OK\r\n"[..], Value::Status(Bytes::from_static(b"OK"))),
        (b"-ERR no\r\n", Value::Error("ERR no".to_owned())),
        (b":-7\r\n", Value::Integer(-7)),
        (b"$-1\r\n", Value::Null),
        (b"*-1\r\n", Value::Null),
        (b"$0\r\n\r\n", bulk(b"")),
        (b"$4\r\na\r\nb\r\n", bulk(b"a\r\nb")),
        (
            b"*2\r\n:1\r\n*1\r\n$1\r\nx\r\n",
            Value::Array(vec![Value::Integer(1), Value::Array(vec![bulk(b"x")])]),
        ),
    ] {
        assert_eq!(decode(bytes), Ok(Some(value)));
        for end in 0..bytes.len() {
            assert_eq!(decode(&bytes[..end]), Ok(None), "{:?}", &bytes[..end]);
        }
    }
}

#[test]
fn answers_follow_each_other_in_any_pieces() {
    let stream = b"+OK\r\n$3\r\nabc\r\n*1\r\n:5\r\n";
    for size in 1..stream.len() {
        let (mut decoder, mut buffer, mut values) =
            (Decoder::default(), BytesMut::new(), Vec::new());
        for piece in stream.chunks(size) {
            buffer.extend_from_slice(piece);
            while let Some(value) = decoder.decode(&mut buffer).unwrap() {
                values.push(value);
            }
        }
        assert_eq!(values.len(), 3);
        assert_eq!(values[2], Value::Array(vec![Value::Integer(5)]));
        assert!(buffer.is_empty());
    }
}

#[test]
fn garbage_is_refused_before_memory_is_allocated() {
    let deep = b"*1\r\n".repeat(10);
    let long = [&b"+"[..], &vec![b'x'; MAX_LINE + 10]].concat();
    for bytes in [
        &b"HTTP/1.1 400 Bad Request\r\n"[..],
        b"\r\n",
        b"$9223372036854775807\r\n",
        b"$33554433\r\n",
        b"$-2\r\n",
        b"$abc\r\n",
        b"$1\r\nabc",
        b"*9223372036854775807\r\n",
        b"*100001\r\n",
        b"*-5\r\n",
        b"*2\r\n*60000\r\n",
        b":\r\n",
        b":1.5\r\n",
        &deep,
        &long,
    ] {
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]).into_owned();
        let answer = decode(bytes);
        if bytes.starts_with(b"*2") {
            // The second array is announced later.
            let more = [bytes, &b":1\r\n".repeat(60_000), b"*60000\r\n"].concat();
            assert!(decode(&more).is_err(), "{shown}");
        } else {
            assert!(answer.is_err(), "{shown}: {answer:?}");
        }
    }
}

#[test]
fn large_answer_in_small_pieces_is_scanned_once() {
    let item = b"*2\r\n:1\r\n$1000\r\n".iter().copied().chain([b'x'; 1000]).chain(*b"\r\n");
    let items: Vec<u8> = (0..2000).flat_map(|_| item.clone()).collect();
    let answer = [&b"*2000\r\n"[..], &items].concat();
    let (mut decoder, mut buffer) = (Decoder::default(), BytesMut::new());
    for piece in answer.chunks(100) {
        let scanned = decoder.scanned;
        buffer.extend_from_slice(piece);
        if let Some(value) = decoder.decode(&mut buffer).unwrap() {
            let Value::Array(items) = value else { panic!() };
            assert_eq!(items.len(), 2000);
            return;
        }
        assert!(scanned <= decoder.scanned && buffer.len() - decoder.scanned < 1100);
    }
    panic!("the answer is complete");
}

proptest! {
    #[test]
    fn any_bytes_end_in_an_answer_or_an_error(bytes: Vec<u8>) {
        let _ = decode(&bytes);
    }

    #[test]
    fn bytes_of_the_alphabet_end_in_an_answer_or_an_error(text in "[*$:+-][0-9*$:+\r\n-]{0,40}") {
        let mut buffer = BytesMut::from(text.as_bytes());
        let mut decoder = Decoder::default();
        while let Ok(Some(_)) = decoder.decode(&mut buffer) {}
        prop_assert!(buffer.len() <= text.len());
    }
}
