//! `release`.

use std::time::Duration;

use clap::Args;

use super::SocketArgs;
use super::parse::parse_port;

/// Arguments of `release`.
#[derive(Clone, Debug, Args)]
pub struct ReleaseArgs {
    /// The ports.
    #[arg(required = true, value_name = "PORT", value_parser = parse_port)]
    pub ports: Vec<u16>,
    /// The socket that is to be able to bind them. What does not stand in its way is left
    /// alone.
    #[command(flatten)]
    pub socket: SocketArgs,
    /// Only show the plan.
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask.
    #[arg(long, conflicts_with = "dry_run")]
    pub yes: bool,
    /// Kill (SIGKILL) what has not ended by SIGTERM within the timeout.
    #[arg(long)]
    pub force: bool,
    /// How long each step may take (`500ms`, `30s`, `2m`); by default 10s. What goes by
    /// itself and cannot be destroyed is waited for only if this is given.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub timeout: Option<Duration>,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}
