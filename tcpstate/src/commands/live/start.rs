//! Begins a live run: hooks on, header written, table filled.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use tokio::sync::mpsc;

use super::Live;
use super::policy::Policy;
use super::signals::Signals;
use crate::clock;
use crate::commands::header;
use crate::commands::release::Helper;
use crate::confine::Run;
use crate::engine::Limits;
use crate::event::{Body, Capture, Filters, Header, Probe, ProbeStatus};
use crate::kernel::{Observer, Options};
use crate::metrics::Metrics;
use crate::observe::kernel::Kernel;
use crate::pipeline::outputs::Stdout;
use crate::pipeline::{Outputs, Pipeline, Selector};
use crate::printable::printable;
use crate::recording::parts::Rotation;
use crate::recording::secure_file;
use crate::recording::writer::Writer;
use crate::serve::http::Ask;
use crate::snapshot::sysctl;
use crate::stdio::Stream;
use crate::tui::Ui;
use crate::tui::config::Config;

/// What a live run is to be.
pub(in crate::commands) struct Start<'a> {
    /// What it is narrowed to.
    pub filters: Filters,
    /// Whether connects that succeed are reported.
    pub report_connects: bool,
    /// Where stdout's events go; `None`: the dashboard takes the terminal.
    pub stdout: Option<Stdout>,
    /// What the dashboard is like.
    pub screen: Config,
    /// File to record to.
    pub record: Option<&'a Path>,
    /// When it goes on in the next file.
    pub rotation: Rotation,
    /// Whether hooks and the kernel program's diagnostics are told on stderr.
    pub verbose: bool,
    /// Which way of observing is asked for; `None`: what the kernel allows.
    pub capture: Option<Capture>,
    /// Whether all that is not needed to go on is given up once the hooks are on.
    pub is_confined: bool,
    /// Whether the dashboard frees no port, whatever its configuration says.
    pub is_read_only: bool,
    /// This process supervises the program that is watched, and says where that is.
    pub supervisor: Option<Supervisor>,
    /// Counts what happens, for whoever asks.
    pub metrics: Option<(Metrics, mpsc::Receiver<Ask>)>,
}

/// Who supervises the program that is watched: its calls are told, and not taken from hooks,
/// and the network namespace that it is in may change.
#[derive(Clone, Copy, Debug)]
pub(in crate::commands) struct Supervisor {
    /// Its process.
    pub pid: u32,
    /// The network namespace that it was started in.
    pub home: u32,
}

/// Begins a live run. Everything that can be refused is tried before the
/// terminal is taken.
pub(in crate::commands) fn start(start: Start<'_>) -> Result<Live> {
    let signals = Signals::listen().context("cannot listen for signals")?;
    let recording = start
        .record
        .map(|path| Writer::create(path, start.rotation))
        .transpose()?;
    let began_ns = clock::monotonic_ns();
    let observer = Observer::start(&Options {
        ports: start
            .filters
            .ports
            .iter()
            .map(|[first, last]| *first..=*last)
            .collect(),
        // The kernel program cannot change to another one.
        netns: start.filters.netns.filter(|_| start.supervisor.is_none()),
        pids: start.filters.pids.clone(),
        report_connects: start.report_connects,
        verbose: start.verbose,
        capture: start.capture,
        binds_only: false,
    })?;
    if start.verbose {
        tell_hooks(&observer, began_ns);
    }
    let is_read_only = start.is_read_only || start.screen.read_only;
    // With the rights that are given up below.
    let helper = (start.stdout.is_none() && !is_read_only).then(Helper::start);
    if start.is_confined {
        let run = Run {
            folders: folders(start.record, start.stdout.is_none()),
            is_under_sudo: secure_file::invoking_user().is_some(),
            has_dashboard: start.stdout.is_none(),
        };
        run.confine()
            .context("cannot give up the privileges that are not needed any more")?;
    }
    let selector = Selector::new(
        start.filters.comms.clone(),
        start.filters.states.clone(),
        start.filters.addrs.clone(),
    );
    let (stdout, ui) = match start.stdout {
        Some(stdout) => (stdout, None),
        None => (
            Stdout::None,
            Some(Ui::start(start.screen).context("cannot take the terminal")?),
        ),
    };
    let (helper, able) = match helper {
        None => (
            None,
            Err("this run is read-only; `tcpstate release PORT` frees a port"),
        ),
        Some(Ok(helper)) => (Some(helper), Ok(())),
        Some(Err(_)) => (
            None,
            Err("what frees ports could not be started; `tcpstate release PORT` does the same"),
        ),
    };
    let ui = ui.map(|mut ui| {
        ui.set_freeing(able);
        ui
    });
    let mut live = Live {
        kernel: Kernel::of(observer),
        pipeline: Pipeline::new(Limits::default(), selector, Outputs::new(stdout, recording)),
        ui,
        helper,
        signals,
        policy: Policy::start(),
        filters: start.filters,
        facts: Vec::new(),
        busy_until_ns: 0,
        taken_ns: 0,
        verbose: start.verbose,
        supervisor: start.supervisor,
        asks: None,
    };
    if let Some((metrics, asks)) = start.metrics {
        live.pipeline.count(metrics);
        live.asks = Some(asks);
    }
    let header = live.header();
    live.pipeline
        .feed(header.clock.mono_ns, Body::Header(Box::new(header)))?;
    live.fill_table()?;
    live.pipeline.write_out()?;
    Ok(live)
}

/// Where files are written later: parts of the recording, what the dashboard saves.
fn folders(record: Option<&Path>, has_dashboard: bool) -> Vec<PathBuf> {
    let of_recording = record.and_then(Path::parent).map(|folder| {
        if folder.as_os_str().is_empty() {
            Path::new(".")
        } else {
            folder
        }
    });
    let of_dashboard = has_dashboard.then_some(Path::new("."));
    let folders = of_recording.into_iter().chain(of_dashboard);
    folders.map(Path::to_owned).collect()
}

/// Says which hooks are on, while stderr is still the terminal's owner.
fn tell_hooks(observer: &Observer, began_ns: u64) {
    // A stderr that nobody reads is no reason to end.
    let mut stderr = Stream::stderr();
    for probe in observer.probes() {
        let Probe {
            name,
            kind,
            status,
            why,
        } = probe;
        let status = match status {
            ProbeStatus::Attached => "on",
            ProbeStatus::Unused => "unused",
            ProbeStatus::Unavailable => "missing",
        };
        let why = why
            .as_ref()
            .map_or_else(String::new, |why| format!(": {}", printable(why)));
        let line = format!("tcpstate: hook {name} ({kind}) {status}{why}\n");
        let _ = stderr.write_all(line.as_bytes());
    }
    let took_ms = clock::monotonic_ns().saturating_sub(began_ns) / 1_000_000;
    let _ = writeln!(stderr, "tcpstate: watching after {took_ms} ms");
}

impl Live {
    pub(super) fn header(&mut self) -> Header {
        let sysctls = match self.filters.netns {
            Some(netns) => self
                .kernel
                .namespaces
                .inside(netns, sysctl::read)
                .unwrap_or_default(),
            None => sysctl::read(),
        };
        let header = header::of(
            self.kernel.observer.probes().to_vec(),
            self.kernel.observer.capture(),
            sysctls,
        );
        Header {
            filters: self.filters.clone(),
            netns: self.supervisor.map(|it| it.home).or(header.netns),
            ..header
        }
    }
}
