//! One step: destroys sockets, ends a process, or has a manager stop what it runs.

use std::time::Duration;

use anyhow::Result;
use rustix::io::Errno;
use rustix::process::Signal;

use super::super::act::process::HeldProcess;
use super::super::act::socket::{Destroyed, Destroyer};
use super::{CarryOut, POLL_EVERY, deadline};
use crate::clock;
use crate::diagnosis::release::{TargetProcess, TargetSocket};
use crate::event::Outcome;

/// How long SIGKILL may take: what waits in the kernel is ended later.
const KILL_TIMEOUT: Duration = Duration::from_secs(5);

/// What became of an attempt.
pub(super) struct Attempt {
    pub(super) outcome: Outcome,
    pub(super) says: String,
}

impl Attempt {
    pub(super) fn new(outcome: Outcome, says: impl Into<String>) -> Self {
        Self {
            outcome,
            says: says.into(),
        }
    }
}

impl CarryOut<'_> {
    pub(super) fn destroy(&mut self, sockets: &[TargetSocket]) -> Result<Attempt> {
        let results = self.port.inside(|_| -> std::io::Result<Vec<Destroyed>> {
            let mut destroyer = Destroyer::open()?;
            let mut results = Vec::with_capacity(sockets.len());
            for socket in sockets {
                let result = destroyer.destroy(socket)?;
                results.push(result);
                if result == Destroyed::NotAllowed {
                    break;
                }
            }
            Ok(results)
        })?;
        let results = match results {
            Ok(results) => results,
            Err(error) => {
                let says = format!("the kernel refuses to destroy the sockets: {error}");
                return Ok(Attempt::new(Outcome::Failed, says));
            }
        };
        let count = |what| results.iter().filter(|result| **result == what).count();
        let destroyed = count(Destroyed::Yes);
        Ok(if count(Destroyed::NotAllowed) > 0 {
            Attempt::new(
                Outcome::NotAllowed,
                "sockets may be destroyed by root only (CAP_NET_ADMIN): run this as root, or the \
                 command of the plan",
            )
        } else if count(Destroyed::NotSupported) > 0 {
            let wait = if self.options.waits {
                "it is waited for"
            } else {
                "give --timeout 70s to wait until they go by themselves"
            };
            Attempt::new(
                Outcome::Failed,
                format!(
                    "this kernel cannot destroy them: TIME_WAIT needs Linux 6.0, all of it \
                     CONFIG_INET_DIAG_DESTROY; {wait}"
                ),
            )
        } else if destroyed == 0 {
            Attempt::new(Outcome::NotNeeded, "they were gone already")
        } else {
            let s = if destroyed == 1 { "" } else { "s" };
            Attempt::new(Outcome::Done, format!("destroyed {destroyed} socket{s}"))
        })
    }

    /// SIGTERM, and SIGKILL where that is wished.
    pub(super) fn end(&mut self, target: &TargetProcess) -> Result<Attempt> {
        let name = name(target);
        let held = match HeldProcess::open(target) {
            Ok(Some(held)) => held,
            Ok(None) => {
                let says = format!("not done: {name} has ended, or let go of the port, before");
                return Ok(Attempt::new(Outcome::Changed, says));
            }
            Err(error) => return Ok(failed(&name, error)),
        };
        if let Err(error) = held.signal(Signal::TERM) {
            return Ok(failed(&name, error));
        }
        if held.is_stopped()
            && let Err(error) = held.signal(Signal::CONT)
        {
            return Ok(failed(&name, error));
        }
        if let Some(attempt) = self.wait_for(&held, &name, self.options.timeout, "SIGTERM")? {
            return Ok(attempt);
        }
        let seconds = self.options.timeout.as_secs_f32();
        if !self.options.force {
            let why = if held.is_traced() {
                "a debugger keeps it stopped; let it go on there"
            } else {
                "give it more --timeout, or --force, which kills it"
            };
            let says = format!("{name} has not ended within {seconds} s of SIGTERM: {why}");
            return Ok(Attempt::new(Outcome::TimedOut, says));
        }
        if let Err(error) = held.signal(Signal::KILL) {
            return Ok(failed(&name, error));
        }
        let after = format!("SIGKILL, as SIGTERM had done nothing for {seconds} s");
        let ended = self.wait_for(&held, &name, KILL_TIMEOUT, &after)?;
        Ok(ended.unwrap_or_else(|| {
            let says = format!(
                "{name} has not even ended by SIGKILL: it waits in the kernel for something \
                 (state D of ps)"
            );
            Attempt::new(Outcome::TimedOut, says)
        }))
    }

    /// Until it has ended, or has nothing to do with the port any more: who has closed its
    /// listener and still serves the last ones has the time for that. `None`: nothing came of
    /// it in time.
    fn wait_for(
        &mut self,
        held: &HeldProcess,
        name: &str,
        timeout: Duration,
        after: &str,
    ) -> Result<Option<Attempt>> {
        let deadline_ns = deadline(timeout);
        loop {
            if held.has_ended() {
                let says = format!("{name} has ended after {after}");
                return Ok(Some(Attempt::new(Outcome::Done, says)));
            }
            let is_over = clock::monotonic_ns() >= deadline_ns;
            if !held.has_socket() && (is_over || self.port.is_free()?) {
                let says = format!("{name} has let go of the port after {after}");
                return Ok(Some(Attempt::new(Outcome::Done, says)));
            }
            if is_over {
                return Ok(None);
            }
            std::thread::sleep(POLL_EVERY);
        }
    }

    pub(super) fn stop_by_manager(
        &self,
        name: &str,
        processes: &[TargetProcess],
        stop: impl FnOnce() -> Result<()>,
    ) -> Attempt {
        let mut held = Vec::new();
        for target in processes {
            match HeldProcess::open(target) {
                Ok(process) => held.extend(process),
                Err(error) => return failed(name, error),
            }
        }
        if held.is_empty() {
            let says = format!("not done: no process of {name} has the port any more");
            return Attempt::new(Outcome::Changed, says);
        }
        if let Err(error) = stop() {
            return Attempt::new(Outcome::Failed, format!("{error:#}"));
        }
        let deadline_ns = deadline(self.options.timeout);
        while held.iter().any(|process| !process.has_ended()) {
            if clock::monotonic_ns() >= deadline_ns {
                let says = format!(
                    "{name} is being stopped, and holds the port still after {} s",
                    self.options.timeout.as_secs_f32()
                );
                return Attempt::new(Outcome::TimedOut, says);
            }
            std::thread::sleep(POLL_EVERY);
        }
        Attempt::new(Outcome::Done, format!("{name} is stopped"))
    }
}

fn failed(name: &str, error: Errno) -> Attempt {
    if error == Errno::PERM {
        let says = format!("{name} is another user's: run this as root, or as that user");
        return Attempt::new(Outcome::NotAllowed, says);
    }
    Attempt::new(
        Outcome::Failed,
        format!("{name} cannot be signalled: {error}"),
    )
}

fn name(target: &TargetProcess) -> String {
    format!("{}[{}]", target.process.comm, target.process.pid)
}
