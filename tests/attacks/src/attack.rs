//! All kinds of attackers.

use clap::ValueEnum;

use crate::{clients, dice::Dice, native, php, register, strangers, target::Target};

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
    /// Whether it knows the secret, with which it may send to every client and close any, and have
    /// answers made for it.
    pub(crate) const fn knows_the_secret(self) -> bool {
        matches!(
            self,
            Self::NativeCommands | Self::NativeQueries | Self::NativeWorker | Self::PhpFrames
        )
    }

    /// One life of such an attacker. It ends early when the other side hangs up.
    pub(crate) async fn once(self, target: &Target, dice: &mut Dice) {
        let _ended_early = match self {
            Self::Idle => strangers::idle(target, dice).await,
            Self::Drip => strangers::drip(target, dice).await,
            Self::Noise => strangers::noise(target, dice).await,
            Self::Requests => strangers::requests(target, dice).await,
            Self::Header => strangers::header(target, dice).await,
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
