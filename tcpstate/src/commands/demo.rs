//! `tcpstate demo`: plays a scenario in a private namespace and watches it.

use std::io::{self, IsTerminal as _};
use std::sync::mpsc as thread_channel;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::sync::mpsc;

use super::live::{self, Cue, Live, Start};
use super::watch::{runtime, stdout};
use crate::cli::{DemoArgs, Format};
use crate::demo::{Expectation, SCENARIOS, Scenario, Stage, namespace, scenario};
use crate::event::{Capture, Filters};
use crate::recording::parts::Rotation;

/// How often it is polled whether anybody still watches.
const POLL_EVERY: Duration = Duration::from_millis(20);
/// Lines that wait to be shown; no scenario has so many.
const MAX_CUES: usize = 64;

/// Plays one scenario, or all.
pub(super) fn run(args: &DemoArgs, verbose: bool, capture: Option<Capture>) -> Result<()> {
    if args.list {
        let lines: Vec<String> = SCENARIOS
            .iter()
            .map(|scenario| format!("{:18} {}", scenario.name, scenario.title))
            .collect();
        return super::print(lines.join("\n").as_bytes(), b"\n");
    }
    if args.scenario == "all" {
        let format = args.output.format(io::stdout().is_terminal());
        if format == Format::Json || args.record.is_some() {
            bail!(
                "`demo all` is for reading; with --json or --record name one of `tcpstate demo --list`"
            );
        }
        return SCENARIOS
            .iter()
            .try_for_each(|scenario| play(scenario, args, Some(Format::Text), verbose, capture));
    }
    let Some(scenario) = scenario::find(&args.scenario) else {
        bail!(
            "there is no story `{}`; `tcpstate demo --list` lists them",
            args.scenario
        );
    };
    play(scenario, args, None, verbose, capture)
}

fn play(
    scenario: &'static Scenario,
    args: &DemoArgs,
    format: Option<Format>,
    verbose: bool,
    capture: Option<Capture>,
) -> Result<()> {
    let mut output = args.output.clone();
    output.format = format.or(output.format);
    let screen = super::config::of(&output)?;
    let (script_sender, script) = mpsc::channel(MAX_CUES);
    let (ready, is_ready) = thread_channel::channel();
    let (begin, may_begin) = thread_channel::channel::<()>();
    let stage = std::thread::Builder::new()
        .name("stage".to_owned())
        .spawn(move || run_scenario(scenario, &script_sender, &ready, &may_begin))
        .context("cannot start a thread for the demo")?;
    let Ok(netns) = is_ready.recv() else {
        // The stage says why it could not be set up.
        return joined(stage);
    };

    let live = runtime()?.block_on(async {
        let live = live::start(Start {
            screen,
            filters: Filters {
                netns: Some(netns),
                ..Filters::default()
            },
            report_connects: false,
            stdout: stdout(&output),
            record: args.record.as_deref(),
            rotation: Rotation::default(),
            verbose,
            capture,
            // The stage is set by this process, too.
            is_confined: false,
            is_read_only: false,
            supervisor: None,
            metrics: None,
        })?;
        // The stage waits for this, or for the channel to close on an error.
        let _ = begin.send(());
        live.run(None, Some(script)).await
    })?;
    joined(stage)?;
    check(scenario, &live)
}

/// Runs in the stage's thread, which alone is in the private namespace.
fn run_scenario(
    scenario: &Scenario,
    script_sender: &mpsc::Sender<Cue>,
    ready: &thread_channel::Sender<u32>,
    may_begin: &thread_channel::Receiver<()>,
) -> Result<()> {
    let netns = namespace::enter_private()?;
    let mut narrate = |line: String| {
        // Nobody watches any more where that fails.
        let _ = script_sender.blocking_send(Cue::Say(line));
    };
    let mut stage = Stage::new(&mut narrate);
    // A namespace is found through its processes, and some scenarios end with none.
    let _netns_holder = stage.start("doorkeeper")?;
    if ready.send(netns).is_err() || may_begin.recv().is_err() {
        return Ok(());
    }
    stage.say(&format!("{}: {}", scenario.name, scenario.title));
    let _actors = (scenario.play)(&mut stage)?;
    let _ = script_sender.blocking_send(Cue::End);
    // What was left behind stays to be looked at until nobody watches any more.
    while !script_sender.is_closed() {
        std::thread::sleep(POLL_EVERY);
    }
    Ok(())
}

fn joined(stage: std::thread::JoinHandle<Result<()>>) -> Result<()> {
    match stage.join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// The demo is its own test: a scenario that comes out otherwise is a failure.
fn check(scenario: &Scenario, live: &Live) -> Result<()> {
    let engine = live.pipeline.engine();
    if engine.footer().is_some_and(|footer| footer.ended != "demo") {
        return Ok(());
    }
    let cause = engine
        .failures()
        .last()
        .map(|failure| failure.diagnosis.cause);
    match (scenario.expectation, cause) {
        (Expectation::Refused(expected), Some(cause)) if cause == expected => Ok(()),
        (Expectation::Works, None) => Ok(()),
        (Expectation::Refused(expected), Some(cause)) => {
            bail!(
                "the restart was refused for `{}`, not for `{}`",
                cause.name(),
                expected.name()
            )
        }
        (Expectation::Refused(_), None) => {
            bail!("the restart was expected to be refused, and no failed call was seen")
        }
        (Expectation::Works, Some(cause)) => bail!(
            "the restart was expected to work, and was refused for `{}`",
            cause.name()
        ),
    }
}
