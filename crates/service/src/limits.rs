//! Resource limits of this process.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The limit of open file descriptors; `None` if unlimited.
#[must_use]
pub fn descriptors() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// Raises the number of descriptors that this process may have open as far as it is allowed to: a
/// soft limit of 1,024 is a default for programs that use `select`, which none of ours does.
///
/// Logs the change. If raising it fails, the limit stays, with a warning.
pub(crate) fn raise_descriptors() {
    let Rlimit { current: soft, maximum: hard } = getrlimit(Resource::Nofile);
    let is_less = soft.is_some_and(|soft| hard.is_none_or(|hard| soft < hard));
    if !is_less {
        tracing::debug!(descriptors = soft, "limit of open files is as high as it may be");
        return;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: hard, maximum: hard }) {
        Ok(()) => tracing::info!(from = soft, to = hard, "limit of open files raised"),
        Err(error) => {
            let error = std::io::Error::from(error);
            tracing::warn!(%error, descriptors = soft, "limit of open files cannot be raised");
        }
    }
}
