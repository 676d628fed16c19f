//! What somebody has agreed to: nothing else is done.

use std::collections::BTreeSet;
use std::io::{self, IsTerminal as _, Write as _};

use anyhow::{Context as _, Result, bail};
use rustix::termios::{QueueSelector, tcflush};

use super::dialogue;
use super::inspection::Inspection;
use crate::diagnosis::release::{Act, TargetProcess};
use crate::stdio::Stream;

/// Who or what a step is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Target {
    Socket(u64),
    Unit(String),
    Container(String),
    /// With its start, which distinguishes it from another one with its number.
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

/// Who is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// Everything is agreed to beforehand.
    Nobody,
    Terminal,
    Dashboard,
}

/// The targets of the plans that were agreed to.
#[derive(Debug)]
pub(super) struct Consent {
    asked: Asked,
    targets: BTreeSet<Target>,
    /// Sockets that nobody has open come and go; one more or less changes nothing.
    with_unowned: bool,
}

impl Consent {
    pub(super) fn new(asked: Asked) -> Self {
        Self {
            asked,
            targets: BTreeSet::new(),
            with_unowned: false,
        }
    }

    /// Whether somebody is asked on a terminal, which is there.
    pub(super) fn is_on_terminal(&self) -> bool {
        self.asked == Asked::Terminal && io::stdin().is_terminal()
    }

    /// Asks for consent to these plans, which have been shown. `false`: it was not given.
    pub(super) fn ask<'l>(
        &mut self,
        inspections: impl IntoIterator<Item = &'l Inspection>,
    ) -> Result<bool> {
        let is_given = match self.asked {
            Asked::Nobody => true,
            Asked::Terminal => is_typed()?,
            Asked::Dashboard => dialogue::is_yes(),
        };
        if !is_given {
            return Ok(false);
        }
        for plan in inspections.into_iter().map(|inspection| &inspection.plan) {
            for step in &plan.steps {
                self.targets.extend(Target::of(&step.act));
                self.with_unowned |= match &step.act {
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
                    || (self.with_unowned && !socket.is_owned)
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
