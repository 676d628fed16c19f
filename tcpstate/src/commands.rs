//! One file per command.
use crate::cli::Cli;
/// x
pub fn run(_cli: Cli) -> anyhow::Result<()> {
    Ok(())
}
