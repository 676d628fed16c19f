//! `tcpstate release`: frees a port. The only command that ends anything: what acts is in
//! `act`, which nobody else can import.

mod act;
mod carry_out;
mod comeback;
mod consent;
mod dialogue;
mod helper;
mod inspection;

use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::cli::ReleaseArgs;
use crate::event::{
    Explanation, IsFree, Outcome, Refusal, Release, ReleaseStep, ReleasedPort, YesNo,
};
use crate::export;
use crate::snapshot::proc;
use crate::stdio::Stream;

use carry_out::CarryOut;
use consent::{Asked, Consent};
use inspection::{Inspection, Port};

pub(super) use dialogue::Said;
pub(super) use helper::{Helper, serve};

/// How long a step may take, unless it is said.
const STEP_TIMEOUT: Duration = Duration::from_secs(10);

/// What somebody may decide who frees a port.
#[derive(Clone, Copy, Debug)]
struct Options {
    /// Of each step.
    timeout: Duration,
    /// What goes by itself is waited for.
    waits: bool,
    /// SIGKILL, after SIGTERM had its time.
    force: bool,
}

impl Options {
    fn usual() -> Self {
        Self {
            timeout: STEP_TIMEOUT,
            waits: false,
            force: false,
        }
    }
}

/// Shows the plan, asks, and carries it out. 0: a bind would succeed; 1: it would not; 2:
/// it was refused or failed.
pub(super) fn run(args: &ReleaseArgs) -> Result<ExitCode> {
    let options = Options {
        timeout: args.timeout.unwrap_or(STEP_TIMEOUT),
        waits: args.timeout.is_some(),
        force: args.force,
    };
    let asked = if args.yes {
        Asked::Nobody
    } else {
        Asked::Terminal
    };
    free(args, options, Printer::new(args), Consent::new(asked))
}

fn free(
    args: &ReleaseArgs,
    options: Options,
    printer: Printer,
    mut consent: Consent,
) -> Result<ExitCode> {
    if !proc::has_our_numbers() {
        bail!(
            "the processes that are listed here have other numbers for the kernel, so that a \
             signal would reach somebody else; run it on the host, or where /proc is its own"
        );
    }
    let mut numbers = args.ports.clone();
    numbers.sort_unstable();
    numbers.dedup();
    let mut ports: Vec<Port> = numbers
        .into_iter()
        .map(|port| Port::new(port, &args.socket))
        .collect::<Result<_>>()?;
    let mut inspections: Vec<Inspection> = Vec::new();
    for port in &mut ports {
        let inspection = port.inspect()?;
        let before = port.explain()?;
        printer.say(&before.summary)?;
        printer.show(&export::release::plan(
            &inspection.steps(),
            &inspection.plan.refusals,
        ))?;
        inspections.push(inspection);
    }
    let planned: Vec<ReleaseStep> = inspections.iter().flat_map(Inspection::steps).collect();
    let mut answer = Release {
        plan: planned,
        refused: Vec::new(),
        done: Vec::new(),
        free: IsFree::No,
        diagnosis: None,
        ports: Vec::new(),
        missing: Vec::new(),
    };
    let mut refused: Vec<Vec<Refusal>> = inspections
        .iter()
        .map(|inspection| inspection.plan.refusals.clone())
        .collect();
    for missing in inspections
        .iter()
        .flat_map(|inspection| &inspection.missing)
    {
        if !answer.missing.contains(missing) {
            answer.missing.push(missing.clone());
        }
    }
    let mut is_agreed = args.dry_run || answer.plan.is_empty() || {
        if consent.is_on_terminal() && !printer.is_on_terminal() {
            let plan: String = inspections
                .iter()
                .map(|inspection| {
                    export::release::plan(&inspection.steps(), &inspection.plan.refusals)
                })
                .collect();
            Stream::stderr().write_all(plan.as_bytes()).ok();
        }
        consent.ask(&inspections)?
    };
    if is_agreed && !args.dry_run {
        for ((port, inspection), refused) in ports.iter_mut().zip(inspections).zip(&mut refused) {
            let mut carry_out = CarryOut::new(port, options, &mut consent, &printer);
            *refused = carry_out.run(inspection)?;
            answer.done.append(&mut carry_out.done);
            if carry_out.is_declined {
                is_agreed = false;
                break;
            }
        }
    }
    answer.refused = refused.into_iter().flatten().collect();
    for port in &mut ports {
        let after = port.explain()?;
        if !answer.done.is_empty() {
            printer.say(&after.summary)?;
        }
        answer.ports.push(released(port.number, after));
    }
    let is_held = |port: &&ReleasedPort| port.free == IsFree::No;
    answer.free = IsFree::from(!answer.ports.iter().any(|port| is_held(&port)));
    answer.diagnosis = answer
        .ports
        .iter()
        .find(is_held)
        .and_then(|port| port.diagnosis.clone());
    if !is_agreed {
        let is_begun = answer.done.iter().any(|done| done.outcome == Outcome::Done);
        let what = if is_begun { "nothing more" } else { "nothing" };
        printer.complain(&format!(
            "{what} was done, because the answer was not `yes`"
        ))?;
    }
    if args.json {
        let text = export::release::json(&answer).context("cannot print the answer")? + "\n";
        super::print(text.as_bytes(), b"")?;
    }
    Ok(exit_code(&answer, is_agreed))
}

fn released(port: u16, after: Explanation) -> ReleasedPort {
    let is_free = after.would_listen == YesNo::Yes;
    ReleasedPort {
        port,
        free: IsFree::from(is_free),
        diagnosis: (!is_free).then(|| Box::new(after)),
    }
}

/// 0: a bind would succeed; 1: still held; 2: refused, or failed.
fn exit_code(answer: &Release, is_agreed: bool) -> ExitCode {
    if answer.free == IsFree::Yes {
        return ExitCode::SUCCESS;
    }
    let is_refused = answer.refused.iter().any(|refusal| refusal.why.is_final());
    let has_failed = answer
        .done
        .iter()
        .any(|done| done.outcome == Outcome::Failed);
    if !is_agreed || is_refused || has_failed || answer.plan.is_empty() {
        ExitCode::from(2)
    } else {
        ExitCode::FAILURE
    }
}

/// Says to a person what happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Printer {
    Stdout,
    /// The standard output has the JSON, and somebody is asked.
    Stderr,
    /// It has the JSON, and nobody is there.
    Nobody,
    /// To the dashboard that this process frees ports for.
    Dashboard,
}

impl Printer {
    fn new(args: &ReleaseArgs) -> Self {
        let asks = !args.yes && !args.dry_run && io::stdin().is_terminal();
        match (args.json, asks) {
            (false, _) => Self::Stdout,
            (true, true) => Self::Stderr,
            (true, false) => Self::Nobody,
        }
    }

    fn show(self, text: &str) -> Result<()> {
        match self {
            Self::Stdout => super::print(text.as_bytes(), b""),
            Self::Stderr => {
                // Nobody can be told that nobody listens there.
                Stream::stderr().write_all(text.as_bytes()).ok();
                Ok(())
            }
            Self::Nobody => Ok(()),
            Self::Dashboard => {
                dialogue::say(&Said::Text(text.to_owned()));
                Ok(())
            }
        }
    }

    fn complain(self, sentence: &str) -> Result<()> {
        if self == Self::Dashboard {
            return self.say(sentence);
        }
        super::complain(sentence);
        Ok(())
    }

    fn say(self, sentence: &str) -> Result<()> {
        self.show(&(crate::printable::printable(sentence).into_owned() + "\n"))
    }

    /// Whether who is asked sees what it is about.
    fn is_on_terminal(self) -> bool {
        self == Self::Stderr || io::stdout().is_terminal()
    }
}
