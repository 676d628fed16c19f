//! `demo`.

use std::path::PathBuf;

use clap::Args;

use super::OutputArgs;

/// Arguments of `demo`.
#[derive(Clone, Debug, Args)]
pub struct DemoArgs {
    /// Which scenario; `all` plays them one after the other.
    #[arg(default_value = "restart")]
    pub scenario: String,
    /// List the scenarios.
    #[arg(long)]
    pub list: bool,
    /// Also write the events, as JSON lines, to this file.
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// How it is shown.
    #[command(flatten)]
    pub output: OutputArgs,
}
