//! Attacks on the register.

use crate::{rng::Rng, target::Target, wire::Wire};

/// Lines of a peer without the secret, or parts of lines.
pub(crate) async fn stranger(target: &Target, rng: &mut Rng) -> Option<()> {
    let mut wire = Wire::connect(target.register, rng).await?;
    let length = rng.amount(200_000);
    let bytes = match rng.below(4) {
        0 => rng.bytes(length),
        1 => vec![b'['; length],
        2 => format!("{{\"event\":\"worker_connect\",\"secret_key\":\"{}\"}}\n", rng.word(8))
            .repeat(1 + length / 60)
            .into_bytes(),
        _ => format!("{{\"event\":\"gateway_connect\",\"address\":\"{}", "1".repeat(length))
            .into_bytes(),
    };
    wire.send_in_pieces(&bytes, rng).await?;
    wire.linger(rng, 3000).await
}

/// Peers with the secret: gateways with false addresses, workers that do not read, and meaningless
/// lines.
pub(crate) async fn member(target: &Target, rng: &mut Rng) -> Option<()> {
    let mut wire = Wire::connect(target.register, rng).await?;
    let secret = String::from_utf8_lossy(target.secret.expose()).into_owned();
    let count = rng.amount(200);
    let lines = match rng.below(4) {
        // No process listens there.
        0 => serde_json::json!({
            "event": "gateway_connect", "secret_key": secret, "native": rng.once_in(2),
            "address": format!("127.0.0.1:{}", 1 + rng.below(1000)),
        }),
        // The address of a running gateway.
        1 => serde_json::json!({
            "event": "gateway_connect", "secret_key": secret, "native": true,
            "instance": format!("{:016x}", rng.number()), "address": target.inner.to_string(),
        }),
        2 => {
            let known: Vec<_> = (0..count).map(|at| format!("10.0.0.1:{at}")).collect();
            serde_json::json!({ "event": "worker_connect", "secret_key": secret, "known": known })
        }
        _ => serde_json::json!({ "event": "ping", "answer": true, "more": rng.word(count) }),
    };
    wire.send(format!("{lines}\n").repeat(count).as_bytes()).await?;
    wire.linger(rng, 2000).await
}
