//! `config`.

use std::path::PathBuf;

use clap::Args;

/// Arguments of `config`.
#[derive(Clone, Debug, Args)]
pub struct ConfigArgs {
    /// Print a file that says what is the case without one.
    #[arg(long)]
    pub template: bool,
    /// Look at this file.
    #[arg(long, value_name = "FILE", conflicts_with = "template")]
    pub config: Option<PathBuf>,
}
