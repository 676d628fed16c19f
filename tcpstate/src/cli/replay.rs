//! `replay`.

use std::path::PathBuf;

use clap::Args;

use super::OutputArgs;

/// Arguments of `replay`.
#[derive(Clone, Debug, Args)]
pub struct ReplayArgs {
    /// The recording; of one in several files, all of them in order.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// How it is shown.
    #[command(flatten)]
    pub output: OutputArgs,
}
