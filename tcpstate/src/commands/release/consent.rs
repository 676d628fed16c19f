//! What somebody has agreed to: nothing else is done.

use std::collections::BTreeSet;
use std::io::{self, IsTerminal as _, Write as _};

use anyhow::{Context as _, Result, bail};
use rustix::termios::{QueueSelector, tcflush};

use super::look::Look;
use crate::diagnosis::release::{Act, TargetProcess};
use crate::stdio::Stream;

/// Who or what a step is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Target {
    Socket(u64),
    Unit(String),
    Container(String),
    /// With its start, which tells it from another one with its number.
    Process(u32, u64),
}

impl Target {
    fn process(target: &TargetProcess) -> Self {
        Self::Process(target.process.pid, target.start_ticks)
    }

    /// All that a step is about.
    pub(super) fn of(act: &Act) -> BTreeSet<Self> {
        match act {
            Act::DestroySockets(sockets) => sockets
                .iter()
                .map(|socket| Self::Socket(socket.sock.cookie))
                .collect(),
            Act::DestroyLeftovers => BTreeSet::new(),
            Act::StopUnit { unit, .. } => [Self::Unit(unit.clone())].into(),
            Act::StopContainer { name, .. } => [Self::Container(name.clone())].into(),
            Act::StopProcess(process) => [Self::process(process)].into(),
        }
    }
}

/// The targets of the plans that were agreed to.
#[derive(Debug)]
pub(super) struct Consent {
    assume_yes: bool,
    targets: BTreeSet<Target>,
    /// Sockets that nobody has open come and go; one more or less changes nothing.
    with_nobodys: bool,
}

impl Consent {
    pub(super) fn new(assume_yes: bool) -> Self {
        Self {
            assume_yes,
            targets: BTreeSet::new(),
            with_nobodys: false,
        }
    }

    /// Asks for consent to these plans, which have been shown. `false`: it was not given.
    pub(super) fn ask<'l>(&mut self, looks: impl IntoIterator<Item = &'l Look>) -> Result<bool> {
        if !self.assume_yes && !is_typed()? {
            return Ok(false);
        }
        for plan in looks.into_iter().map(|look| &look.plan) {
            for step in &plan.steps {
                self.targets.extend(Target::of(&step.act));
                self.with_nobodys |= match &step.act {
                    Act::DestroySockets(sockets) => sockets.iter().any(|socket| !socket.is_owned),
                    _ => true,
                };
            }
            let connections = plan.connections.iter().copied();
            self.targets.extend(connections.map(Target::Socket));
        }
        Ok(true)
    }

    /// Whether a step is agreed to.
    pub(super) fn covers(&self, act: &Act) -> bool {
        if let Act::DestroySockets(sockets) = act {
            return sockets.iter().all(|socket| {
                self.targets.contains(&Target::Socket(socket.sock.cookie))
                    || (self.with_nobodys && !socket.is_owned)
            });
        }
        Target::of(act).is_subset(&self.targets)
    }
}

/// Whether somebody types `yes`.
fn is_typed() -> Result<bool> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        bail!(
            "nobody can be asked here, as the standard input is no terminal: add --yes to carry \
             this out, or --dry-run to see the plan only"
        );
    }
    // What was typed before the plan was there is no answer to it.
    tcflush(rustix::stdio::stdin(), QueueSelector::IFlush).ok();
    Stream::stderr()
        .write_all(b"Type yes to do this: ")
        .context("cannot ask on the terminal")?;
    let mut line = String::new();
    stdin
        .read_line(&mut line)
        .context("cannot read the answer from the terminal")?;
    Ok(line.trim() == "yes")
}
