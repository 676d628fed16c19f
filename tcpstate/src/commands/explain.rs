//! `tcpstate explain`: would a bind of this port succeed now, and if not, why?

mod ask;
mod attempt;
mod holders;

use std::process::ExitCode;

use anyhow::{Context as _, Result};

pub(super) use ask::Asker;
pub(super) use attempt::RequestedSocket;
pub(super) use holders::{Extent, PortHolders, name_processes};

use crate::cli::{ExplainArgs, PortArgs};
use crate::confine;
use crate::event::{Explanation, ForeignNetns, YesNo};
use crate::export;
use crate::snapshot::netns;

/// Answers once.
pub(super) fn run(args: &ExplainArgs) -> Result<ExitCode> {
    gain_nothing()?;
    let mut asker = Asker::new(args.port.port, &args.port.socket)?.trying(args.port.is_tried)?;
    let answer = asker.ask_with_processes()?;
    print(&answer, &args.port)?;
    Ok(exit_code(&answer))
}

/// Asking starts no other program.
pub(super) fn gain_nothing() -> Result<()> {
    confine::gain_nothing().context("cannot give up to gain privileges")
}

/// 0: it would succeed; 1: it would not; 2: cannot tell.
fn exit_code(answer: &Explanation) -> ExitCode {
    ExitCode::from(match answer.would_listen {
        YesNo::Yes => 0,
        YesNo::No => 1,
        YesNo::Unknown => 2,
    })
}

/// Prints the answer as it was wished.
pub(super) fn print(answer: &Explanation, args: &PortArgs) -> Result<()> {
    let text = if args.json {
        export::explain::json(answer).context("cannot print the answer")? + "\n"
    } else {
        let own = netns::current().ok();
        // A path or a number says no more than the number does.
        let name = Some(args.socket.netns.as_str())
            .filter(|name| !name.contains('/') && name.parse::<u32>().is_err());
        let asked = own.and_then(|own| ForeignNetns::of(answer.netns, name, Some(own)));
        export::explain::text(answer, asked)
    };
    super::print(text.as_bytes(), b"")
}
