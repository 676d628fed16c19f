//! Carries a plan out: the first step of a plan that is made anew before each.
//!
//! What is not agreed to is not done, what was tried once is not tried again, and where a
//! step does not help the rest is left, as it could not free the port either.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Result;
use rustix::io::Errno;
use rustix::process::Signal;

use super::act::manager;
use super::act::process::Held;
use super::act::socket::{Destroyed, Destroyer};
use super::comeback::{self, Stopped};
use super::consent::{Consent, Target};
use super::look::{Look, Port};
use super::{Options, Printer};
use crate::clock;
use crate::diagnosis::release::{Act, PlannedStep, TargetProcess, TargetSocket};
use crate::event::{DoneStep, Outcome, Refusal, ReleaseStep, StepKind, YesNo};
use crate::export;
use crate::model::NS_PER_MS;

/// Plans that are made anew because something has changed, before it is given up.
const MAX_CHANGES: u32 = 4;
/// Steps in all: a server may have a worker for each of many processors.
const MAX_STEPS: u32 = 4096;
/// Time between two looks at what a step waits for.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long SIGKILL may take: what waits in the kernel is ended later.
const KILL_TIMEOUT: Duration = Duration::from_secs(5);
/// How long after the end of a process somebody who starts it again is looked out for.
const COMES_BACK_WITHIN: Duration = Duration::from_millis(800);

/// The freeing of one port.
pub(super) struct CarryOut<'a> {
    port: &'a mut Port,
    options: Options,
    consent: &'a mut Consent,
    printer: &'a Printer,
    /// What was done.
    pub(super) done: Vec<DoneStep>,
    /// Somebody was asked once more, and has not said yes.
    pub(super) is_declined: bool,
    tried: BTreeSet<Target>,
    stopped: Vec<Stopped>,
    /// Processes that held the port before anything was stopped.
    known: BTreeSet<Target>,
}

/// What became of an attempt.
struct Attempt {
    outcome: Outcome,
    says: String,
}

impl Attempt {
    fn new(outcome: Outcome, says: impl Into<String>) -> Self {
        Self {
            outcome,
            says: says.into(),
        }
    }
}

impl<'a> CarryOut<'a> {
    pub(super) fn new(
        port: &'a mut Port,
        options: Options,
        consent: &'a mut Consent,
        printer: &'a Printer,
    ) -> Self {
        Self {
            port,
            options,
            consent,
            printer,
            done: Vec::new(),
            is_declined: false,
            tried: BTreeSet::new(),
            stopped: Vec::new(),
            known: BTreeSet::new(),
        }
    }

    /// Until the port is free or nothing more may be done; gives the holders that are left
    /// alone in the end.
    pub(super) fn run(&mut self, agreed: Look) -> Result<Vec<Refusal>> {
        let mut plan = agreed.plan.steps;
        let mut changes = 0;
        let mut refusals = Vec::new();
        for _ in 0..MAX_STEPS {
            let look = self.port.look()?;
            refusals.clone_from(&look.plan.refusals);
            if look.plan.would_listen == YesNo::Yes && !self.comes_back()? {
                break;
            }
            let look = if look.plan.would_listen == YesNo::Yes {
                self.port.look()?
            } else {
                look
            };
            if let Some(back) = comeback::who(&self.stopped, &self.known, &look.plan) {
                self.tell_comeback(&back)?;
                break;
            }
            if self.stopped.is_empty() {
                let holders = look.plan.steps.iter().flat_map(|step| processes(&step.act));
                self.known.extend(holders.map(comeback::identity));
            }
            let Some(step) = self.next(&look) else {
                self.wait_for_the_rest(look.plan.clears_ms)?;
                break;
            };
            if !self.consent.covers(&step.act) {
                changes += 1;
                if !self.agree_anew(&mut plan, &look, changes)? {
                    break;
                }
                continue;
            }
            self.tried.extend(Target::of(&step.act));
            if !self.act(&step)? {
                break;
            }
        }
        self.tell_unneeded(&plan)?;
        Ok(refusals)
    }

    /// The first step that was not tried yet.
    fn next(&self, look: &Look) -> Option<PlannedStep> {
        let steps = look.plan.steps.iter();
        steps
            .filter(|step| !matches!(step.act, Act::DestroyLeftovers))
            .find_map(|step| match &step.act {
                Act::DestroySockets(sockets) => {
                    let is_new = |socket: &&TargetSocket| {
                        !self.tried.contains(&Target::Socket(socket.sock.cookie))
                    };
                    let left: Vec<TargetSocket> = sockets.iter().filter(is_new).copied().collect();
                    (!left.is_empty()).then(|| PlannedStep {
                        act: Act::DestroySockets(left),
                        says: step.says.clone(),
                    })
                }
                act => {
                    let is_new = Target::of(act).is_disjoint(&self.tried);
                    is_new.then(|| step.clone())
                }
            })
    }

    /// The holder is another one: says so, and asks for the new plan. `false`: no.
    fn agree_anew(
        &mut self,
        plan: &mut Vec<PlannedStep>,
        look: &Look,
        changes: u32,
    ) -> Result<bool> {
        let steps = std::mem::take(plan);
        for step in &steps {
            let is_planned_still = look.plan.steps.iter().any(|now| now.act == step.act);
            if self.is_untried(step) && !is_planned_still {
                let says = format!(
                    "not done: {} does not hold the port as it did when the plan was made",
                    step.says.target
                );
                self.tell(step.says.clone(), Attempt::new(Outcome::Changed, says), 0)?;
            }
        }
        if changes > MAX_CHANGES {
            self.printer
                .say("The holders change faster than a plan is made; nothing more is done.")?;
            return Ok(false);
        }
        self.printer
            .say("The port is held otherwise than it was; the plan is now:")?;
        self.printer
            .show(&export::release::plan(&look.says(), &look.plan.refusals))?;
        plan.clone_from(&look.plan.steps);
        self.is_declined = !self.consent.ask([look])?;
        Ok(!self.is_declined)
    }

    fn is_untried(&self, step: &PlannedStep) -> bool {
        let targets = Target::of(&step.act);
        !targets.is_empty() && targets.is_disjoint(&self.tried)
    }

    /// Steps that were agreed to, and whose turn never came.
    fn tell_unneeded(&mut self, plan: &[PlannedStep]) -> Result<()> {
        if !self.port.is_free()? {
            return Ok(());
        }
        for step in plan {
            if self.is_untried(step) {
                let says = format!("{}: it holds the port no longer", step.says.target);
                self.tell(step.says.clone(), Attempt::new(Outcome::NotNeeded, says), 0)?;
            }
        }
        Ok(())
    }

    /// Does it. `false`: it did not help, and nothing else would.
    fn act(&mut self, step: &PlannedStep) -> Result<bool> {
        let began_ns = clock::monotonic_ns();
        let attempt = match &step.act {
            Act::DestroySockets(sockets) => self.destroy(sockets)?,
            Act::DestroyLeftovers => return Ok(true),
            Act::StopProcess(target) => self.end(target)?,
            Act::StopUnit {
                unit,
                stop,
                processes,
            } => {
                let stop = || manager::stop_unit(stop);
                self.stop_by_manager(unit, processes, stop)
            }
            Act::StopContainer {
                name,
                stop,
                processes,
                ..
            } => {
                let timeout = self.options.timeout;
                let stop = || manager::stop_container(stop, timeout);
                self.stop_by_manager(name, processes, stop)
            }
        };
        let took_ms = clock::monotonic_ns().saturating_sub(began_ns) / NS_PER_MS;
        let goes_on = match attempt.outcome {
            // What one may not do may be done by others, and the rest is one's own.
            Outcome::Done
            | Outcome::NotNeeded
            | Outcome::Changed
            | Outcome::CameBack
            | Outcome::NotAllowed => true,
            // It goes by itself, and the rest may be worth the wait.
            Outcome::Failed => step.says.step == StepKind::DestroySockets,
            Outcome::TimedOut => false,
        };
        if attempt.outcome == Outcome::Done {
            let now = processes(&step.act).map(Stopped::of);
            self.stopped.extend(now);
        }
        self.tell(step.says.clone(), attempt, took_ms)?;
        Ok(goes_on)
    }

    fn tell(&mut self, step: ReleaseStep, attempt: Attempt, took_ms: u64) -> Result<()> {
        let done = DoneStep {
            step,
            outcome: attempt.outcome,
            says: attempt.says,
            took_ms,
        };
        self.printer.show(&export::release::done(&done))?;
        self.done.push(done);
        Ok(())
    }

    /// Says of the last step that it was undone.
    fn tell_comeback(&mut self, back: &comeback::Comeback) -> Result<()> {
        let step = self.done.iter_mut().rev().find(|done| {
            done.outcome == Outcome::Done && done.step.step != StepKind::DestroySockets
        });
        if let Some(done) = step {
            done.outcome = Outcome::CameBack;
            done.says.clone_from(&back.says);
            self.printer.show(&export::release::done(&done.clone()))?;
        }
        Ok(())
    }

    /// Whether a port that is free is taken again, by those who start again what ended.
    fn comes_back(&mut self) -> Result<bool> {
        if !self.stopped.iter().any(Stopped::may_come_back) {
            return Ok(false);
        }
        let deadline_ns = deadline(COMES_BACK_WITHIN);
        while clock::monotonic_ns() < deadline_ns {
            if !self.port.is_free()? {
                return Ok(true);
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(false)
    }

    /// Waits for what goes by itself, where that is wished.
    fn wait_for_the_rest(&mut self, clears_ms: Option<u64>) -> Result<()> {
        if clears_ms.is_none() || !self.options.waits {
            return Ok(());
        }
        let deadline_ns = deadline(self.options.timeout);
        while !self.port.is_free()? && clock::monotonic_ns() < deadline_ns {
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    fn destroy(&mut self, sockets: &[TargetSocket]) -> Result<Attempt> {
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
    fn end(&mut self, target: &TargetProcess) -> Result<Attempt> {
        let name = name(target);
        let held = match Held::open(target) {
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
        held: &Held,
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
            std::thread::sleep(LOOK_EVERY);
        }
    }

    fn stop_by_manager(
        &self,
        name: &str,
        processes: &[TargetProcess],
        stop: impl FnOnce() -> Result<()>,
    ) -> Attempt {
        let mut held = Vec::new();
        for target in processes {
            match Held::open(target) {
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
            std::thread::sleep(LOOK_EVERY);
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

/// Whose end a step is.
fn processes(act: &Act) -> impl Iterator<Item = &TargetProcess> {
    let (several, one) = match act {
        Act::StopUnit { processes, .. } | Act::StopContainer { processes, .. } => {
            (processes.as_slice(), None)
        }
        Act::StopProcess(target) => ([].as_slice(), Some(target)),
        Act::DestroySockets(_) | Act::DestroyLeftovers => ([].as_slice(), None),
    };
    several.iter().chain(one)
}

fn deadline(after: Duration) -> u64 {
    let after_ns = u64::try_from(after.as_nanos()).unwrap_or(u64::MAX);
    clock::monotonic_ns().saturating_add(after_ns)
}
