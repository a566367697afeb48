//! The kinds of attackers.

use clap::ValueEnum;

use crate::{clients, http, native, php, register, rng::Rng, target::Target};

/// A kind of attacker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Attack {
    Idle,
    Drip,
    Noise,
    Requests,
    Header,
    Messages,
    Tiny,
    Unfinished,
    Malformed,
    Churn,
    NativeStranger,
    NativeCommands,
    NativeQueries,
    NativeWorker,
    PhpStranger,
    PhpFrames,
    RegisterStranger,
    RegisterMember,
}

impl Attack {
    /// Whether it has the secret, and so may send to and close any client, and send queries.
    pub(crate) const fn has_secret(self) -> bool {
        matches!(
            self,
            Self::NativeCommands | Self::NativeQueries | Self::NativeWorker | Self::PhpFrames
        )
    }

    /// Runs one attack. It ends early if the process disconnects.
    pub(crate) async fn run_once(self, target: &Target, rng: &mut Rng) {
        let _ended_early = match self {
            Self::Idle => http::idle(target, rng).await,
            Self::Drip => http::drip(target, rng).await,
            Self::Noise => http::noise(target, rng).await,
            Self::Requests => http::requests(target, rng).await,
            Self::Header => http::header(target, rng).await,
            Self::Messages => clients::messages(target, rng).await,
            Self::Tiny => clients::tiny(target, rng).await,
            Self::Unfinished => clients::unfinished(target, rng).await,
            Self::Malformed => clients::malformed(target, rng).await,
            Self::Churn => clients::churn(target, rng).await,
            Self::NativeStranger => native::stranger(target, rng).await,
            Self::NativeCommands => native::commands(target, rng).await,
            Self::NativeQueries => native::queries(target, rng).await,
            Self::NativeWorker => native::worker(target, rng).await,
            Self::PhpStranger => php::stranger(target, rng).await,
            Self::PhpFrames => php::frames(target, rng).await,
            Self::RegisterStranger => register::stranger(target, rng).await,
            Self::RegisterMember => register::member(target, rng).await,
        };
    }
}
