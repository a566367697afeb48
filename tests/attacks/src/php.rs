//! Attacks with the PHP protocol on the inner port of a gateway.

use bytes::BytesMut;
use protocol::codec::gateway_worker::{Frame, Opcode};

use crate::{rng::Rng, target::Target, wire::Wire};

/// Frames of a peer without the secret.
pub(crate) async fn stranger(target: &Target, rng: &mut Rng) -> Option<()> {
    let mut wire = Wire::connect(target.inner, rng).await?;
    for _ in 0..rng.amount(20) {
        let mut bytes = frame(target, rng, 60_000);
        rng.mutate(&mut bytes);
        wire.send_in_pieces(&bytes, rng).await?;
    }
    wire.linger(rng, 3000).await
}

/// Frames of a worker or a `GatewayClient` that reads few of the replies.
pub(crate) async fn frames(target: &Target, rng: &mut Rng) -> Option<()> {
    let mut wire = Wire::connect(target.inner, rng).await?;
    let secret = String::from_utf8_lossy(target.secret.expose()).into_owned();
    let key = rng.word(10);
    let (cmd, hello) = if rng.once_in(2) {
        (Opcode::WorkerConnect, serde_json::json!({ "worker_key": key, "secret_key": secret }))
    } else {
        (Opcode::GatewayClientConnect, serde_json::json!({ "secret_key": secret }))
    };
    let hello =
        Frame { cmd: cmd.into(), body: hello.to_string().into(), flag: 1, ..Frame::default() };
    wire.send(&encoded(&hello)).await?;
    for _ in 0..rng.amount(30) {
        let mut bytes = frame(target, rng, 500_000);
        bytes = bytes.repeat(rng.amount(1 + (1 << 20) / bytes.len()));
        if rng.once_in(10) {
            rng.mutate(&mut bytes);
        }
        wire.send(&bytes).await?;
        if rng.once_in(3) {
            wire.read(rng.pause(100)).await?;
        }
    }
    wire.linger(rng, 2000).await
}

/// A frame of any command, with valid or invalid fields.
fn frame(target: &Target, rng: &mut Rng, most: usize) -> Vec<u8> {
    let cmd = *rng.pick(Opcode::ALL);
    let client = match cmd {
        Opcode::Kick | Opcode::Destroy => target.any_client(rng),
        _ => target.client(rng),
    };
    // Other flags would let a peer send raw bytes to every client, which may break their framing.
    let flag = rng.below(2) as u8;
    let (ext, body) = (field(rng, most), field(rng, most));
    let frame = Frame {
        cmd: cmd.into(),
        connection_id: client.0,
        flag,
        ext_data: ext.into(),
        body: body.into(),
        ..Frame::default()
    };
    encoded(&frame)
}

/// Plausible field contents: names in JSON, serialized values, or arbitrary bytes.
fn field(rng: &mut Rng, most: usize) -> Vec<u8> {
    let length = rng.amount(most);
    match rng.below(7) {
        0 => Vec::new(),
        1 => rng.word(length.min(20)).into_bytes(),
        2 => rng.bytes(length.min(1000)),
        3 => format!("[{}\"a\"]", "\"a\",".repeat(length / 4)).into_bytes(),
        4 => format!(
            "{{\"fields\":[\"session\",\"groups\",\"uid\"],\"where\":{{\"groups\":[{}\"b\"]}}}}",
            "\"b\",".repeat(length / 4)
        )
        .into_bytes(),
        5 => format!("a:1:{{s:1:\"k\";s:{length}:\"{}\";}}", "v".repeat(length)).into_bytes(),
        // Nested arrays.
        _ => {
            let depth = length.min(5000);
            format!("{}i:0;{}", "a:1:{i:0;".repeat(depth), "}".repeat(depth)).into_bytes()
        }
    }
}

fn encoded(frame: &Frame) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    // Oversized frames result from mutating the length.
    frame.encode(&mut bytes).expect("a frame that fits");
    bytes.to_vec()
}
