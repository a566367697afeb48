//! Repeats a command that shows something.

use std::time::Duration;

use tokio::time::sleep;

use super::Context;
use crate::{failure::Failure, output::View};

/// The flag of commands that can be repeated.
#[derive(Debug, clap::Args)]
pub(crate) struct Watch {
    /// Repeat until Ctrl-C, by default every two seconds. As JSON, each result is one line
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=3600), help_heading = "Output")]
    watch: Option<u64>,
}

impl Watch {
    /// Shows the result of `look`, once or repeatedly.
    ///
    /// # Errors
    /// Those of `look`; while it is repeated, they are shown and do not end it.
    pub(crate) async fn run<V: View>(
        &self,
        context: &Context,
        mut look: impl AsyncFnMut() -> Result<V, Failure>,
    ) -> Result<u8, Failure> {
        let Some(seconds) = self.watch else { return context.output.show(&look().await?) };
        loop {
            match look().await {
                Ok(view) => drop(context.output.show_next(&view)?),
                Err(failure) => context.output.write(&failure.to_string())?,
            }
            sleep(Duration::from_secs(seconds)).await;
        }
    }
}
