//! `uids`: every uid that is online.

use super::{Context, groups::ListFlags, watch::Watch};
use crate::{failure::Failure, names::Name, session::Session};

/// Shows uids.
#[derive(Debug, clap::Args)]
pub(crate) struct Uids {
    #[command(flatten)]
    list: ListFlags,

    #[command(flatten)]
    watch: Watch,
}

impl Uids {
    pub(crate) async fn run(self, context: &Context) -> Result<u8, Failure> {
        let session = Session::open(&context.settings).await?;
        let look = async || {
            let cluster = session.partial();
            let all = cluster.all_uids().await?;
            let counts = cluster.uid_client_counts(&all).await?;
            // One that has left since is online with no client, as is one of a gateway that is gone.
            let counts = counts.into_iter().chain(std::iter::repeat(0));
            let names = all.iter().map(Name::from).zip(counts);
            Ok(self.list.list("UID", names.collect(), session.gaps()))
        };
        self.watch.run(context, look).await
    }
}
