//! The one loop that owns a live run: kernel, timers, signals, keys, script.

mod freeing;
mod policy;
mod script;
mod signals;
mod start;

use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::release::Helper;
use crate::clock;
use crate::event::{Body, Filters, Tick};
use crate::observe::counted;
use crate::observe::kernel::{DRAIN_MAX, Kernel};
use crate::observe::source::Slice;
use crate::pipeline::{OutputError, Pipeline};
use crate::serve::http::Ask;
use crate::stdio::{self, Stream};
use crate::tui::Ui;

pub(super) use script::{Cue, Follow};
pub(super) use signals::Signals;
pub(super) use start::{Start, Supervisor, start};

use script::next_cue;

/// How often the ring buffer is emptied when nothing urgent wakes us. The
/// kernel program wakes us at once for a failed call.
const DRAIN_EVERY: Duration = Duration::from_millis(20);
/// The same while much is going on: what is in the ring buffer before a failed call
/// is taken in before it.
const DRAIN_EVERY_BUSY: Duration = Duration::from_millis(4);
/// So many facts in one go are much, and make it likely for a while.
const MUCH: usize = 256;
const BUSY_LASTS_NS: u64 = 100_000_000;
/// Without an event for this long, a `tick` says that time went on.
const TICK_AFTER_NS: u64 = 1_000_000_000;
/// What has come is still taken in for so long once the run is to end.
const END_LASTS_NS: u64 = 500_000_000;

/// A live run.
pub(super) struct Live {
    pub(super) kernel: Kernel,
    pub(super) pipeline: Pipeline,
    pub(super) ui: Option<Ui>,
    /// What is asked beside the hooks.
    policy: policy::Policy,
    /// Frees ports for the dashboard.
    helper: Option<Helper>,
    signals: Signals,
    /// What the run is narrowed to.
    pub(super) filters: Filters,
    facts: Vec<(u64, Body)>,
    /// Much was going on a moment ago.
    busy_until_ns: u64,
    /// When the latest fact of the kernel program happened.
    taken_ns: u64,
    /// Whether the program says on stderr what it does.
    verbose: bool,
    /// This process supervises the program that is watched.
    supervisor: Option<Supervisor>,
    /// Who asks for the metrics.
    asks: Option<mpsc::Receiver<Ask>>,
}

impl Live {
    /// Runs until the duration is over, a signal comes, the user quits or the
    /// script ends; then writes the footer.
    pub(super) async fn run(
        mut self,
        duration: Option<Duration>,
        mut script: Option<mpsc::Receiver<Cue>>,
    ) -> Result<Self> {
        let ended = self.watch(duration, &mut script).await;
        let result = match ended {
            Ok(ended) => {
                let drained = self.drain_all().and_then(|()| {
                    self.pipeline
                        .finish(clock::monotonic_ns(), ended)
                        .map_err(Into::into)
                });
                swallow_broken_pipe(drained)
            }
            Err(error) => swallow_broken_pipe(Err(error)),
        };
        // The terminal is given back before anything is said.
        drop(self.ui.take());
        result?;
        if self.verbose
            && let Ok(ledger) = self.kernel.observer.ledger()
        {
            tell(&format!("ledger {ledger}"));
        }
        if let lines @ 1.. = self.pipeline.outputs_mut().unread_lines() {
            super::complain(&format!(
                "{lines} lines at the end were not written to the standard output, because nobody \
                 took them"
            ));
        }
        self.report_recording()?;
        Ok(self)
    }

    async fn watch(
        &mut self,
        duration: Option<Duration>,
        script: &mut Option<mpsc::Receiver<Cue>>,
    ) -> Result<&'static str> {
        if let Some(duration) = duration {
            if self.pipeline.outputs_mut().unread_lines() > 0 {
                return Ok("duration");
            }
            end_after(duration);
        }
        let deadline = sleep(duration.unwrap_or(Duration::MAX));
        tokio::pin!(deadline);
        let poll = sleep(DRAIN_EVERY);
        tokio::pin!(poll);
        let mut is_more = false;
        loop {
            tokio::select! {
                // A batch was full: the next one is taken as soon as keys and signals
                // have had their chance.
                () = tokio::task::yield_now(), if is_more => {}
                name = self.signals.next() => return Ok(name),
                () = &mut deadline => return Ok("duration"),
                cue = next_cue(script) => {
                    if let Some(reason) = self.perform(cue)? {
                        return Ok(reason);
                    }
                }
                ask = next_ask(&mut self.asks) => self.give_metrics(ask)?,
                input = next_input(&mut self.ui) => {
                    let Some(ui) = &mut self.ui else { continue };
                    if stdio::has_hung_up() {
                        return Ok("sighup");
                    }
                    let input = input.context("cannot read keys from the terminal")?;
                    let control = ui.handle(&input, self.pipeline.engine())?;
                    if self.obey(&control) {
                        return Ok("quit");
                    }
                }
                ready = self.kernel.observer.ready() => ready.context("cannot wait for the kernel's ring buffer")?,
                () = &mut poll => {}
            }
            match self.advance() {
                Ok(more) => is_more = more,
                // Who looked at it has gone, and the signal that says so may be on its way.
                Err(_) if self.has_hung_up() => return Ok("sighup"),
                Err(error) => return Err(error),
            }
            if self.has_hung_up() {
                return Ok("sighup");
            }
            let is_busy = clock::monotonic_ns() < self.busy_until_ns;
            let pause = if is_busy {
                DRAIN_EVERY_BUSY
            } else {
                DRAIN_EVERY
            };
            poll.as_mut().reset(Instant::now() + pause);
        }
    }

    /// Who asks may have gone.
    fn give_metrics(&mut self, ask: Ask) -> Result<()> {
        self.pipeline.write_out()?;
        let _ = ask.send(self.pipeline.families(env!("CARGO_PKG_VERSION")));
        Ok(())
    }

    /// Whether the dashboard's terminal does not exist any more.
    fn has_hung_up(&self) -> bool {
        self.ui.is_some() && stdio::has_hung_up()
    }

    /// Takes in what has come, snapshots at what is due, writes and draws. `true`: there
    /// is more to do already.
    fn advance(&mut self) -> Result<bool> {
        let is_more = self.drain()?;
        let now_ns = clock::monotonic_ns();
        let is_polling = self.step_policy(now_ns, is_more)?;
        // What waits is older than now, and is no silence.
        if !is_more && now_ns.saturating_sub(self.pipeline.last_fact_ns()) >= TICK_AFTER_NS {
            self.pipeline.feed(now_ns, Body::Tick(Tick {}))?;
        }
        self.pipeline.write_out()?;
        self.pipeline.settle_recording(now_ns);
        self.notice_recording_error();
        self.emit_diagnostics();
        self.show_release();
        if let Some(ui) = &mut self.ui
            && ui.needs_redraw(self.pipeline.engine(), now_ns)
        {
            ui.draw(self.pipeline.engine(), now_ns)
                .context("cannot draw on the terminal")?;
        }
        Ok(is_more || is_polling)
    }

    /// Takes in one batch and writes what follows from it: somebody may wait for a
    /// diagnosis. `true`: there may be more.
    fn drain(&mut self) -> Result<bool> {
        let mut facts = std::mem::take(&mut self.facts);
        let is_more = self.kernel.observer.drain_to_failure(DRAIN_MAX, &mut facts);
        let count = facts.len();
        for (mono_ns, body) in facts.drain(..) {
            self.take(mono_ns, body)?;
        }
        self.facts = facts;
        if count >= MUCH {
            self.busy_until_ns = clock::monotonic_ns().saturating_add(BUSY_LASTS_NS);
        }
        self.pipeline.write_out()?;
        Ok(is_more)
    }

    /// Takes in all that has come, until nothing is left or what is taken in has happened
    /// after the call: a flood does not keep us here.
    fn catch_up(&mut self) -> Result<()> {
        let began_ns = clock::monotonic_ns();
        while self.drain()? && self.taken_ns < began_ns {}
        Ok(())
    }

    /// Takes in one fact of the kernel program.
    fn take(&mut self, mono_ns: u64, mut body: Body) -> Result<()> {
        if self.is_of_others(&body) {
            return Ok(());
        }
        self.taken_ns = mono_ns;
        self.complete(mono_ns, &mut body)?;
        self.pipeline.feed(mono_ns, body)?;
        let owners = &mut self.policy.owners;
        owners.note_unanswered(self.pipeline.engine(), mono_ns);
        Ok(())
    }

    /// Takes in what has come, as far as there is time at the end: the rest is counted.
    fn drain_all(&mut self) -> Result<()> {
        let slice = Slice::of(&self.kernel, END_LASTS_NS);
        let began_ns = clock::monotonic_ns();
        while self.drain()? && self.taken_ns < began_ns && !slice.is_over(&self.kernel) {}
        let mut facts = std::mem::take(&mut self.facts);
        self.kernel.observer.release(&mut facts);
        for (mono_ns, body) in facts.drain(..) {
            self.take(mono_ns, body)?;
        }
        let now_ns = clock::monotonic_ns();
        for body in counted::all(&mut self.kernel.observer, now_ns) {
            self.pipeline.feed(now_ns, body)?;
        }
        if slice.is_over(&self.kernel)
            && let Some(left) = counted::left(&self.kernel.observer)?
        {
            self.pipeline.feed(clock::monotonic_ns(), left)?;
        }
        self.settle_losses(clock::monotonic_ns())
    }

    /// A recording that cannot be written is said at once; watching goes on.
    fn notice_recording_error(&mut self) {
        if let Some(error) = self.pipeline.outputs_mut().take_recording_error() {
            match &mut self.ui {
                Some(ui) => ui.notice(error.to_string()),
                None => super::complain(&format!("{error}; watching goes on")),
            }
        }
    }

    /// What the kernel program says about itself, with `-v`.
    fn emit_diagnostics(&mut self) {
        for line in self.kernel.observer.take_diagnostics() {
            match &mut self.ui {
                Some(ui) => ui.notice(line),
                None => {
                    tell(&format!("kernel program: {line}"));
                }
            }
        }
    }

    fn report_recording(&mut self) -> Result<()> {
        self.notice_recording_error();
        match self.pipeline.outputs_mut().unrecorded_lines() {
            0 => Ok(()),
            lines => anyhow::bail!(
                "the recording lacks {lines} lines that could not be written or were deleted; see to room and to who deletes, and record again"
            ),
        }
    }
}

/// So long from now, who does not read is waited for no more.
pub(super) fn end_after(duration: Duration) {
    let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    stdio::end_at(clock::monotonic_ns().saturating_add(ns));
}

/// Says what the program does, with `-v`. A stderr that nobody reads is no reason
/// to end.
fn tell(what: &str) {
    let line = format!("tcpstate: {what}\n");
    let _ = Stream::stderr().write_all(line.as_bytes());
}

/// A reader that has gone is a clean end.
fn swallow_broken_pipe(result: Result<()>) -> Result<()> {
    match result {
        Err(error) if matches!(error.downcast_ref(), Some(OutputError::BrokenPipe)) => Ok(()),
        result => result,
    }
}

/// The next question; never, where nobody asks.
async fn next_ask(asks: &mut Option<mpsc::Receiver<Ask>>) -> Ask {
    if let Some(from) = asks {
        if let Some(ask) = from.recv().await {
            return ask;
        }
        *asks = None;
    }
    std::future::pending().await
}

async fn next_input(ui: &mut Option<Ui>) -> std::io::Result<crossterm::event::Event> {
    match ui {
        Some(ui) => ui.next_input().await,
        None => std::future::pending().await,
    }
}
