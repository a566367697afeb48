//! The kinds of attackers.

use clap::ValueEnum;

use crate::{clients, dice::Dice, http, native, php, register, target::Target};

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
    pub(crate) async fn run_once(self, target: &Target, dice: &mut Dice) {
        let _ended_early = match self {
            Self::Idle => http::idle(target, dice).await,
            Self::Drip => http::drip(target, dice).await,
            Self::Noise => http::noise(target, dice).await,
            Self::Requests => http::requests(target, dice).await,
            Self::Header => http::header(target, dice).await,
            Self::Messages => clients::messages(target, dice).await,
            Self::Tiny => clients::tiny(target, dice).await,
            Self::Unfinished => clients::unfinished(target, dice).await,
            Self::Malformed => clients::malformed(target, dice).await,
            Self::Churn => clients::churn(target, dice).await,
            Self::NativeStranger => native::stranger(target, dice).await,
            Self::NativeCommands => native::commands(target, dice).await,
            Self::NativeQueries => native::queries(target, dice).await,
            Self::NativeWorker => native::worker(target, dice).await,
            Self::PhpStranger => php::stranger(target, dice).await,
            Self::PhpFrames => php::frames(target, dice).await,
            Self::RegisterStranger => register::stranger(target, dice).await,
            Self::RegisterMember => register::member(target, dice).await,
        };
    }
}
