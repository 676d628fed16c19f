//! `wait`.

use std::time::Duration;

use clap::Args;

use super::PortArgs;

/// Arguments of `wait`.
#[derive(Clone, Debug, Args)]
pub struct WaitArgs {
    /// What is waited for.
    #[command(flatten)]
    pub port: PortArgs,
    /// Give up after this time (`500ms`, `30s`, `2m`); by default never.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub timeout: Option<Duration>,
}
