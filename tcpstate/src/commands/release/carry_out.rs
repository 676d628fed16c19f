//! Carries a plan out: the first step of a plan that is made anew before each.
//!
//! What is not agreed to is not done, what was tried once is not tried again, and where a
//! step does not help the rest is left, as it could not free the port either.

mod attempt;

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Result;

use super::act::manager;
use super::comeback::{self, Stopped};
use super::consent::{Consent, Target};
use super::inspection::{Inspection, Port};
use super::{Options, Printer};
use crate::clock;
use crate::diagnosis::release::{Act, PlannedStep, TargetProcess, TargetSocket};
use crate::event::{DoneStep, Outcome, Refusal, ReleaseStep, StepKind, YesNo};
use crate::export;
use crate::model::NS_PER_MS;
use attempt::Attempt;

/// Plans that are made anew because something has changed, before it is given up.
const MAX_CHANGES: u32 = 4;
/// Steps in all: a server may have a worker for each of many processors.
const MAX_STEPS: u32 = 4096;
/// Time between two polls of what a step waits for.
const POLL_EVERY: Duration = Duration::from_millis(20);
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
    pub(super) fn run(&mut self, agreed: Inspection) -> Result<Vec<Refusal>> {
        let mut plan = agreed.plan.steps;
        let mut changes = 0;
        let mut refusals = Vec::new();
        for _ in 0..MAX_STEPS {
            let inspection = self.port.inspect()?;
            refusals.clone_from(&inspection.plan.refusals);
            if inspection.plan.would_listen == YesNo::Yes && !self.comes_back()? {
                break;
            }
            let inspection = if inspection.plan.would_listen == YesNo::Yes {
                self.port.inspect()?
            } else {
                inspection
            };
            if let Some(back) = comeback::who(&self.stopped, &self.known, &inspection.plan) {
                self.report_comeback(&back)?;
                break;
            }
            if self.stopped.is_empty() {
                let holders = inspection
                    .plan
                    .steps
                    .iter()
                    .flat_map(|step| processes(&step.act));
                self.known.extend(holders.map(comeback::identity));
            }
            let Some(step) = self.next(&inspection) else {
                self.wait_for_the_rest(inspection.plan.clears_ms)?;
                break;
            };
            if !self.consent.covers(&step.act) {
                changes += 1;
                if !self.agree_anew(&mut plan, &inspection, changes)? {
                    break;
                }
                continue;
            }
            self.tried.extend(Target::of(&step.act));
            if !self.act(&step)? {
                break;
            }
        }
        self.report_unneeded(&plan)?;
        Ok(refusals)
    }

    /// The first step that was not tried yet.
    fn next(&self, inspection: &Inspection) -> Option<PlannedStep> {
        let steps = inspection.plan.steps.iter();
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
                        description: step.description.clone(),
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
        inspection: &Inspection,
        changes: u32,
    ) -> Result<bool> {
        let steps = std::mem::take(plan);
        for step in &steps {
            let is_planned_still = inspection.plan.steps.iter().any(|now| now.act == step.act);
            if self.is_untried(step) && !is_planned_still {
                let says = format!(
                    "not done: {} does not hold the port as it did when the plan was made",
                    step.description.target
                );
                self.report(
                    step.description.clone(),
                    Attempt::new(Outcome::Changed, says),
                    0,
                )?;
            }
        }
        if changes > MAX_CHANGES {
            self.printer
                .say("The holders change faster than a plan is made; nothing more is done.")?;
            return Ok(false);
        }
        self.printer
            .say("The port is held otherwise than it was; the plan is now:")?;
        self.printer.show(&export::release::plan(
            &inspection.steps(),
            &inspection.plan.refusals,
        ))?;
        plan.clone_from(&inspection.plan.steps);
        self.is_declined = !self.consent.ask([inspection])?;
        Ok(!self.is_declined)
    }

    fn is_untried(&self, step: &PlannedStep) -> bool {
        let targets = Target::of(&step.act);
        !targets.is_empty() && targets.is_disjoint(&self.tried)
    }

    /// Steps that were agreed to, and whose turn never came.
    fn report_unneeded(&mut self, plan: &[PlannedStep]) -> Result<()> {
        if !self.port.is_free()? {
            return Ok(());
        }
        for step in plan {
            if self.is_untried(step) {
                let says = format!("{}: it holds the port no longer", step.description.target);
                self.report(
                    step.description.clone(),
                    Attempt::new(Outcome::NotNeeded, says),
                    0,
                )?;
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
            Outcome::Failed => step.description.step == StepKind::DestroySockets,
            Outcome::TimedOut => false,
        };
        if attempt.outcome == Outcome::Done {
            let now = processes(&step.act).map(Stopped::of);
            self.stopped.extend(now);
        }
        self.report(step.description.clone(), attempt, took_ms)?;
        Ok(goes_on)
    }

    fn report(&mut self, step: ReleaseStep, attempt: Attempt, took_ms: u64) -> Result<()> {
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
    fn report_comeback(&mut self, back: &comeback::Comeback) -> Result<()> {
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
            std::thread::sleep(POLL_EVERY);
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
            std::thread::sleep(POLL_EVERY);
        }
        Ok(())
    }
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
