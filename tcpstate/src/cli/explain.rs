//! `explain`.

use clap::Args;

use super::PortArgs;

/// Arguments of `explain`.
#[derive(Clone, Debug, Args)]
pub struct ExplainArgs {
    /// What is asked about.
    #[command(flatten)]
    pub port: PortArgs,
}
