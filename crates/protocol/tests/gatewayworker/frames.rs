//! Frames: golden bytes, limits, and fragmentation.

use bytes::{Bytes, BytesMut};
use proptest::{collection::vec, prelude::*};
use push_suite_protocol::codec::gateway_worker::{
    DecodeError, Frame, HEADER, MAX_FRAME, Opcode, decode, to_peer,
};

use crate::vectors;

fn hex(text: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(byte).collect()
}

#[test]
fn encoded_frame_has_the_bytes_of_php() {
    let empty = Frame { flag: 1, ..Frame::default() };
    let of = |opcode: Opcode, connection_id| Frame {
        cmd: opcode.into(),
        connection_id,
        ..empty.clone()
    };
    let text = |text: &'static str| Bytes::from_static(text.as_bytes());
    for (frame, golden) in [
        (
            Frame {
                body: text(r#"{"worker_key":"BW:0","secret_key":"sk"}"#),
                ..of(Opcode::WorkerConnect, 0)
            },
            concat!(
                "00000043c8000000000000000000000000000000000100000000000",
                "07b22776f726b65725f6b6579223a2242573a30222c227365637265745f6b6579223a22736b227d",
            ),
        ),
        (of(Opcode::IsOnline, 7), "0000001c0b0000000000000000000000000000000701000000000000"),
        (
            Frame { body: text("hi"), ..of(Opcode::SendToOne, 7) },
            "0000001e0500000000000000000000000000000007010000000000006869",
        ),
        (
            Frame { body: text("N;"), flag: 0, ..of(Opcode::Kick, 7) },
            "0000001e0700000000000000000000000000000007000000000000004e3b",
        ),
        (
            Frame { ext_data: text("5"), ..of(Opcode::BindUid, 7) },
            "0000001d0c000000000000000000000000000000070100000000000135",
        ),
        (of(Opcode::Ping, 0), "0000001cc90000000000000000000000000000000001000000000000"),
        (
            Frame {
                local_ip: 0x7f00_0001,
                local_port: 29_000,
                client_ip: 0x7f00_0001,
                client_port: 44_768,
                gateway_port: 18_282,
                ..of(Opcode::OnConnect, 1)
            },
            "0000001c017f00000171487f000001aee00000000101476a00000000",
        ),
    ] {
        let golden = hex(golden);
        let mut written = BytesMut::new();
        frame.encode(&mut written).unwrap();
        assert_eq!(written, golden);
        assert_eq!(decode(&mut BytesMut::from(&golden[..]), MAX_FRAME).unwrap().unwrap(), frame);
    }
}

#[test]
fn ping_is_a_header_without_body() {
    let mut out = BytesMut::new();
    to_peer::ping(&mut out);
    assert_eq!(out, hex("0000001cc90000000000000000000000000000000001000000000000"));
}

#[test]
fn incomplete_frame_waits_without_consuming_or_reserving() {
    for whole in vectors::all().iter().filter(|vector| vector.text("kind") == "frame") {
        for end in 0..whole.bytes.len() {
            let mut part = BytesMut::from(&whole.bytes[..end]);
            let capacity = part.capacity();
            assert_eq!(decode(&mut part, MAX_FRAME), Ok(None), "at {end}");
            assert_eq!(part, whole.bytes[..end]);
            assert_eq!(part.capacity(), capacity);
        }
    }
}

#[test]
fn length_outside_the_limits_is_an_error() {
    let decode = |size: u32, limit| decode(&mut BytesMut::from(&size.to_be_bytes()[..]), limit);
    for size in 0..HEADER as u32 {
        assert_eq!(decode(size, MAX_FRAME), Err(DecodeError::TooShort(size as usize)));
    }
    assert_eq!(decode(HEADER as u32, MAX_FRAME), Ok(None));
    assert_eq!(decode(10_485_760, MAX_FRAME), Ok(None));
    for (size, limit) in [(10_485_761, MAX_FRAME), (u32::MAX, MAX_FRAME), (101, 100)] {
        let error = DecodeError::TooLarge { size: size as usize, limit };
        assert_eq!(decode(size, limit), Err(error));
    }
}

#[test]
fn extra_data_beyond_the_frame_is_an_error() {
    let mut bytes = hex("0000001d0c000000000000000000000000000000070100000000000135");
    bytes[27] = 2;
    let error = decode(&mut BytesMut::from(&bytes[..]), MAX_FRAME).unwrap_err();
    assert_eq!(error, DecodeError::ExtraLength { extra: 2, frame: 29 });
}

#[test]
fn frame_over_the_limit_is_not_written() {
    let frame = |body| Frame { body: vec![0; body].into(), ..Frame::default() };
    let mut out = BytesMut::from(&b"before"[..]);
    assert_eq!(frame(MAX_FRAME - HEADER + 1).encode(&mut out).unwrap_err().size, MAX_FRAME + 1);
    assert_eq!(out, b"before"[..]);
    frame(MAX_FRAME - HEADER).encode(&mut out).unwrap();
    assert_eq!(out.len(), 6 + MAX_FRAME);
}

fn frames() -> impl Strategy<Value = Vec<Frame>> {
    let numbers = any::<(u8, u32, u16, u32, u16, u32, u8, u16)>();
    let frame = (numbers, vec(any::<u8>(), 0..40), vec(any::<u8>(), 0..40)).prop_map(
        |(
            (cmd, local_ip, local_port, client_ip, client_port, connection_id, flag, port),
            ext,
            body,
        )| {
            Frame {
                cmd,
                local_ip,
                local_port,
                client_ip,
                client_port,
                connection_id,
                flag,
                gateway_port: port,
                ext_data: ext.into(),
                body: body.into(),
            }
        },
    );
    vec(frame, 0..6)
}

proptest! {
    #[test]
    fn frames_are_independent_of_fragments(frames in frames(), cuts in vec(1_usize..50, 1..20)) {
        let mut whole = BytesMut::new();
        for frame in &frames {
            frame.encode(&mut whole).unwrap();
        }
        let (mut buffer, mut found) = (BytesMut::new(), Vec::new());
        for cut in cuts.iter().cycle() {
            if whole.is_empty() {
                break;
            }
            buffer.extend_from_slice(&whole.split_to(whole.len().min(*cut)));
            while let Some(frame) = decode(&mut buffer, MAX_FRAME).unwrap() {
                found.push(frame);
            }
        }
        prop_assert_eq!(found, frames);
        prop_assert!(buffer.is_empty());
    }
}
