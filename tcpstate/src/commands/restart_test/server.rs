//! The server: started below the supervisor of `run`, stopped, and its processes.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use regex_lite::Regex;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, wait};

use super::dashboard::Dashboard;
use super::output::{Ends, Output};
use crate::clock;
use crate::commands::run::calls::{Calls, HoldBack, Policy};
use crate::commands::run::explainer::{Explainer, FailureSink, Observation};
use crate::commands::run::keep::KeptSockets;
use crate::event::{Diagnosis, LeftProcess};
use crate::supervise::child::{self, Below, StartError};
use crate::supervise::notification::SeccompListener;
use crate::supervise::signals::Signals;
use crate::supervise::{proc, tree};

/// How often it is polled whether all have ended.
const POLL_EVERY: Duration = Duration::from_millis(2);
/// What is left after the end of a round is killed; that lasts no longer.
const END_LASTS: Duration = Duration::from_secs(5);

/// What is started.
#[derive(Clone, Copy, Debug)]
pub(super) struct Program<'a> {
    pub(super) command: &'a [OsString],
    /// The line on stdout that is waited for.
    pub(super) pattern: Option<&'a Regex>,
    pub(super) verbose: bool,
    /// Is shown what it calls.
    pub(super) dashboard: Option<&'a Dashboard>,
}

/// A start of it.
#[derive(Debug)]
struct Main {
    pid: Pid,
    ended: Option<ExitStatus>,
    output: Output,
}

/// The server through its starts and stops.
pub(super) struct Server<'a> {
    program: Program<'a>,
    signals: &'a Signals,
    calls: Calls,
    observations: Receiver<Observation>,
    /// One for each start of which processes are left.
    listeners: Vec<Arc<SeccompListener>>,
    main: Option<Main>,
    /// Processes of the start before, which were there when this one began.
    left: Vec<ProcessRef>,
    latest: Option<Diagnosis>,
    /// Why its calls are not supervised.
    pub(super) unsupervised: Option<String>,
}

/// A process that is no other one that has its number meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ProcessRef {
    pid: u32,
    start_ticks: u64,
}

impl ProcessRef {
    fn of(pid: u32) -> Option<Self> {
        let stat = proc::stat(pid)?;
        Some(Self {
            pid,
            start_ticks: stat.start_ticks,
        })
    }

    fn runs(self) -> bool {
        proc::stat(self.pid)
            .is_some_and(|stat| stat.start_ticks == self.start_ticks && stat.state != 'Z')
    }
}

impl<'a> Server<'a> {
    /// Nothing is started yet.
    pub(super) fn new(program: Program<'a>, signals: &'a Signals) -> Result<Self> {
        let policy = Policy {
            reuseaddr: false,
            reuseport: false,
            hold_back: HoldBack::Never,
            verbose: false,
        };
        let (tell, observations) = channel();
        let explainer = Explainer::start(None, FailureSink::Channel(tell))?;
        Ok(Self {
            program,
            signals,
            calls: Calls::new(policy, KeptSockets::new(&[], Duration::ZERO), explainer)?,
            observations,
            listeners: Vec::new(),
            main: None,
            left: Vec::new(),
            latest: None,
            unsupervised: None,
        })
    }

    /// Starts it. What is left of the start before is told apart from here on.
    pub(super) fn start(&mut self) -> Result<()> {
        self.left = tree::descendants()
            .into_iter()
            .filter_map(ProcessRef::of)
            .collect();
        self.latest = None;
        let (mut output, mut ends) = self.output()?;
        let mut started = Err(StartError::Nested);
        if self.unsupervised.is_none() {
            let command = self.program.command;
            let mask = self.signals.before();
            started = match child::check_sockets() {
                Err(error) => Err(error),
                Ok(()) => child::start_with(command, mask, Below::Filter, |command| {
                    set(command, ends);
                }),
            };
            ends = match &started {
                Err(error) if error.is_refusal() => {
                    self.unsupervised = Some(error.to_string());
                    let (again, ends) = self.output()?;
                    output = again;
                    ends
                }
                _ => Ends {
                    stdout: Stdio::null(),
                    stderr: Stdio::null(),
                },
            };
        }
        let pid = match started {
            Ok(started) => {
                self.listeners.extend(started.listener.map(Arc::new));
                started.pid
            }
            Err(error) if error.is_refusal() => {
                let command = self.program.command;
                let mask = self.signals.before();
                let started = child::start_with(command, mask, Below::Nothing, |command| {
                    set(command, ends);
                })?;
                started.pid
            }
            Err(error) => return Err(error.into()),
        };
        self.main = Some(Main {
            pid,
            ended: None,
            output,
        });
        Ok(())
    }

    fn output(&self) -> Result<(Output, Ends)> {
        Output::read(self.program.pattern, self.program.verbose)
    }

    /// Lets time pass, at most so much: takes calls and signals.
    pub(super) fn pump(&mut self, time: Duration) -> Result<()> {
        let pause = self.calls.advance(self.main.is_some()).min(time);
        let pause = Timespec {
            tv_sec: i64::try_from(pause.as_secs()).unwrap_or(1),
            tv_nsec: i64::from(pause.subsec_nanos()),
        };
        let mut asked = vec![PollFd::new(self.signals, PollFlags::IN)];
        let calls = self.listeners.iter();
        asked.extend(calls.map(|listener| PollFd::new(&**listener, PollFlags::IN)));
        match poll(&mut asked, Some(&pause)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno).context("cannot wait for the server's calls"),
        }
        self.calls.take_waiting(&mut self.listeners)?;
        self.reap()?;
        self.take_observations();
        if self.program.dashboard.is_some_and(Dashboard::has_ended) {
            bail!("ended at the dashboard: what was started has been ended");
        }
        while let Some(signal) = self.signals.next() {
            let name = match signal.number {
                libc::SIGINT => "SIGINT",
                libc::SIGTERM => "SIGTERM",
                libc::SIGHUP => "SIGHUP",
                libc::SIGQUIT => "SIGQUIT",
                _ => continue,
            };
            bail!("interrupted by {name}: what was started has been ended");
        }
        Ok(())
    }

    /// Lets time pass until no socket of the server is held by who supervises it: it would
    /// outlive its process.
    pub(super) fn let_go(&mut self) -> Result<()> {
        self.pump(Duration::ZERO)?;
        while !self.calls.holds_none() {
            self.pump(POLL_EVERY)?;
        }
        Ok(())
    }

    fn take_observations(&mut self) {
        for observations in self.observations.try_iter() {
            match observations {
                Observation::Fact(mono_ns, body) => {
                    if let Some(dashboard) = self.program.dashboard {
                        dashboard.send_fact(mono_ns, body);
                    }
                }
                Observation::Diagnosis(diagnosis) => self.latest = Some(*diagnosis),
            }
        }
    }

    fn reap(&mut self) -> Result<()> {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => {
                    if let Some(main) = self.main.as_mut().filter(|main| main.pid == pid) {
                        main.ended = Some(ExitStatus::from_raw(status.as_raw()));
                    }
                }
                Err(rustix::io::Errno::INTR) => {}
                Ok(None) | Err(rustix::io::Errno::CHILD) => return Ok(()),
                Err(errno) => return Err(errno).context("cannot wait for the server"),
            }
        }
    }

    /// How its first process has ended.
    pub(super) fn ended(&self) -> Option<ExitStatus> {
        self.main.as_ref().and_then(|main| main.ended)
    }

    /// Its first process.
    pub(super) fn main_pid(&self) -> Option<u32> {
        let main = self.main.as_ref().filter(|main| main.ended.is_none())?;
        Some(main.pid.as_raw_nonzero().get().unsigned_abs())
    }

    /// The processes of this start.
    pub(super) fn processes(&self) -> Vec<u32> {
        let mut others: BTreeSet<u32> = BTreeSet::new();
        for left in self.left.iter().filter(|left| left.runs()) {
            others.insert(left.pid);
            others.extend(tree::descendants_of(left.pid));
        }
        let all = tree::descendants().into_iter();
        all.filter(|pid| !others.contains(pid)).collect()
    }

    /// Processes of the start before this one that go on.
    pub(super) fn left(&self) -> Vec<LeftProcess> {
        self.left
            .iter()
            .filter(|left| left.runs())
            .filter_map(|left| {
                Some(LeftProcess {
                    pid: left.pid,
                    comm: proc::stat(left.pid)?.comm.to_string(),
                })
            })
            .collect()
    }

    /// Sends a signal to its first process.
    pub(super) fn signal_main(&self, signal: Signal) {
        let running = self.main.as_ref().filter(|main| main.ended.is_none());
        if let Some(main) = running {
            // Not reaped yet, so that nobody else has its number.
            let _ = kill_process(main.pid, signal);
        }
    }

    /// Sends a signal to all its processes.
    pub(super) fn signal_all(signal: Signal) {
        for pid in tree::descendants() {
            tree::send(pid, signal);
        }
    }

    /// How many calls have failed until now; `None`: they are not supervised.
    pub(super) fn failed_calls(&self) -> Option<u64> {
        self.unsupervised.is_none().then(|| self.calls.failed())
    }

    /// Why the last one of this start has failed.
    pub(super) fn diagnosis(&self) -> Option<&Diagnosis> {
        self.latest.as_ref()
    }

    /// The line that is waited for was printed.
    pub(super) fn has_printed_pattern(&self) -> bool {
        self.main.as_ref().is_some_and(|it| it.output.is_found())
    }

    /// The last lines that this start has printed.
    pub(super) fn last_lines(&self) -> Option<String> {
        self.main.as_ref().and_then(|it| it.output.last_lines(2))
    }

    /// Ends all that was started, first by SIGTERM if there is `grace`. Signals to us wait.
    pub(super) fn end(mut self, grace: Duration) -> Result<()> {
        let began_ns = clock::monotonic_ns();
        let since = || Duration::from_nanos(clock::monotonic_ns().saturating_sub(began_ns));
        self.signal_main(Signal::TERM);
        Self::signal_all(Signal::CONT);
        loop {
            let taken = self.calls.take_waiting(&mut self.listeners);
            let result = taken.and_then(|()| self.reap());
            let left = tree::descendants();
            let is_over = since() > grace.saturating_add(END_LASTS);
            if left.is_empty() || is_over || result.is_err() {
                self.calls.finish();
                result?;
                if !left.is_empty() {
                    bail!("processes of the server could not be ended: {left:?}; end them");
                }
                return Ok(());
            }
            if since() >= grace || self.main_pid().is_none() {
                Self::signal_all(Signal::KILL);
            }
            std::thread::sleep(POLL_EVERY);
        }
    }
}

/// In a process group of its own: a program that signals its group does not mean us.
fn set(command: &mut Command, ends: Ends) {
    command
        .stdin(Stdio::null())
        .stdout(ends.stdout)
        .stderr(ends.stderr)
        .process_group(0);
}

/// How a process has ended, in words.
pub(super) fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("with exit code {code}"),
        (_, Some(number)) => format!("by signal {number}"),
        _ => "in a way that is not known".to_owned(),
    }
}
