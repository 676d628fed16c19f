//! The program's life: started, stopped and continued with us, restarted, and its end ours.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, wait};
use tcpstate_common::release::numbers;

use super::calls::Calls;
use super::explainer::Job;
use super::respawn::Respawn;
use super::reuseaddr_group::{ReuseaddrGroup, is_enough_for};
use crate::cli::RunArgs;
use crate::clock;
use crate::supervise::child::{self, Below, StartError};
use crate::supervise::notification::SeccompListener;
use crate::supervise::signals::{self, Signals};
use crate::supervise::tree;

/// How often it is looked whether what is left of the program has ended.
const POLL_EVERY: Duration = Duration::from_millis(20);

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The program runs.
    Runs,
    /// It was asked to end, to be started again; at this time it is made to.
    Ends { kill_ns: u64 },
    /// It has ended, and others that descend from it have not.
    LeftOver { kill_ns: u64 },
    /// It is started at this time.
    Pauses { until_ns: u64 },
    /// It has ended, and that is the end.
    Over { code: u8 },
}

/// The program.
pub(super) struct Program<'a> {
    args: &'a RunArgs,
    signals: Signals,
    calls: Calls,
    /// One for each start of which processes are left.
    listeners: Vec<Arc<SeccompListener>>,
    pid: Option<Pid>,
    phase: Phase,
    started_ns: u64,
    /// When somebody wanted it to end.
    asked_to_end_ns: Option<u64>,
    /// The terminal wants its processes to stop (ctrl-z).
    is_asked_to_stop: bool,
    respawn: Respawn,
    has_terminal: bool,
    /// Where the program is whose calls may not be supervised.
    group: Option<ReuseaddrGroup>,
}

impl<'a> Program<'a> {
    pub(super) fn new(args: &'a RunArgs, signals: Signals, calls: Calls) -> Self {
        Self {
            args,
            signals,
            calls,
            listeners: Vec::new(),
            pid: None,
            phase: Phase::Pauses { until_ns: 0 },
            started_ns: 0,
            asked_to_end_ns: None,
            is_asked_to_stop: false,
            respawn: Respawn::default(),
            has_terminal: is_terminal_there(),
            group: None,
        }
    }

    /// Runs it to its end.
    pub(super) fn run(mut self) -> Result<ExitCode> {
        let started = self.start();
        if let Err(error) = started {
            self.calls.finish();
            return Err(error);
        }
        let code = loop {
            if let Phase::Over { code } = self.phase {
                break code;
            }
            let pause = self.calls.advance(self.pid.is_some()).min(self.time_left());
            self.wait_for(pause)?;
            self.take_signals()?;
            self.calls.take_waiting(&mut self.listeners)?;
            self.advance()?;
        };
        self.calls.finish();
        let left = std::mem::take(&mut self.listeners);
        left.into_iter().for_each(let_pass_from_now);
        Ok(ExitCode::from(code))
    }

    fn start(&mut self) -> Result<()> {
        let command: &[OsString] = &self.args.command;
        self.calls.kept_sockets.begin_start();
        let mask = self.signals.before();
        let started = match &self.group {
            Some(group) => child::start(command, mask, Below::Group(group.entrance()))?,
            None => match child::check_sockets()
                .and_then(|()| child::start(command, mask, Below::Filter))
            {
                Err(error) if is_enough_for(self.args) && error.is_refusal() => {
                    let group = ReuseaddrGroup::make(error)?;
                    let started = child::start(command, mask, Below::Group(group.entrance()))?;
                    self.group = Some(group);
                    started
                }
                started => started?,
            },
        };
        self.started_ns = clock::monotonic_ns();
        self.pid = Some(started.pid);
        self.phase = Phase::Runs;
        if let Some(listener) = started.listener {
            self.listeners.push(Arc::new(listener));
            // Once it runs: its start waits for nothing.
            self.calls.want_hooks();
        }
        Ok(())
    }

    /// Until the next thing that time alone brings.
    fn time_left(&self) -> Duration {
        let until = |at_ns: u64| Duration::from_nanos(at_ns.saturating_sub(clock::monotonic_ns()));
        match self.phase {
            Phase::Runs => Duration::from_secs(1),
            Phase::Ends { kill_ns } => until(kill_ns),
            Phase::LeftOver { .. } => POLL_EVERY,
            Phase::Pauses { until_ns } => until(until_ns),
            Phase::Over { .. } => Duration::ZERO,
        }
    }

    fn wait_for(&self, time: Duration) -> Result<()> {
        let time = Timespec {
            tv_sec: i64::try_from(time.as_secs()).unwrap_or(1),
            tv_nsec: i64::from(time.subsec_nanos()),
        };
        let mut asked = vec![PollFd::new(&self.signals, PollFlags::IN)];
        let calls = self.listeners.iter();
        asked.extend(calls.map(|listener| PollFd::new(&**listener, PollFlags::IN)));
        match poll(&mut asked, Some(&time)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(errno) => Err(errno).context("cannot wait for the program's calls"),
        }
    }

    fn take_signals(&mut self) -> Result<()> {
        while let Some(signal) = self.signals.next() {
            self.take_signal(signal)?;
        }
        Ok(())
    }

    fn take_signal(&mut self, signal: signals::Signal) -> Result<()> {
        match signal.number {
            libc::SIGCHLD => self.reap()?,
            // Continued by our shell, with the program or for it.
            libc::SIGCONT => self.is_asked_to_stop = false,
            libc::SIGTSTP => self.is_asked_to_stop = true,
            libc::SIGTTOU => {}
            libc::SIGHUP if !signal.is_kernels && self.has_terminal == is_terminal_there() => {
                self.restart();
            }
            number => {
                if [libc::SIGINT, libc::SIGTERM, libc::SIGQUIT, libc::SIGHUP].contains(&number) {
                    self.asked_to_end_ns = Some(clock::monotonic_ns());
                }
                // A key at the terminal has reached the program as well.
                match (self.pid, Signal::from_named_raw(number)) {
                    (Some(pid), Some(named)) if !signal.is_kernels => {
                        let _ = kill_process(pid, named);
                    }
                    (None, _) if number != libc::SIGWINCH => self.end_by(number),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// The program does not run, and somebody wants it to end.
    fn end_by(&mut self, number: i32) {
        if [libc::SIGINT, libc::SIGTERM, libc::SIGQUIT, libc::SIGHUP].contains(&number) {
            let code = u8::try_from(128 + number).unwrap_or(u8::MAX);
            self.phase = Phase::Over { code };
        }
    }

    fn restart(&mut self) {
        // Somebody sees to it.
        self.respawn = Respawn::default();
        let kill_ns = self.grace_from_now();
        match (self.phase, self.pid) {
            (Phase::Runs, Some(pid)) => {
                let _ = kill_process(pid, Signal::TERM);
                // One that is stopped does not see it otherwise.
                let _ = kill_process(pid, Signal::CONT);
                self.phase = Phase::Ends { kill_ns };
            }
            (Phase::Pauses { .. }, _) => self.phase = Phase::Pauses { until_ns: 0 },
            _ => {}
        }
    }

    fn grace_from_now(&self) -> u64 {
        let grace_ns = u64::try_from(self.args.grace.as_nanos()).unwrap_or(u64::MAX);
        clock::monotonic_ns().saturating_add(grace_ns)
    }

    /// Takes note of every child that has ended or stopped: the program, and orphans below.
    fn reap(&mut self) -> Result<()> {
        loop {
            match wait(WaitOptions::NOHANG | WaitOptions::UNTRACED) {
                Ok(Some((pid, status))) if Some(pid) == self.pid => {
                    if let Some(number) = status.stopping_signal() {
                        self.stop_with_it(number)?;
                    } else {
                        self.ended(ExitStatus::from_raw(status.as_raw()));
                    }
                }
                Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
                Ok(None) | Err(rustix::io::Errno::CHILD) => return Ok(()),
                Err(errno) => return Err(errno).context("cannot wait for the program"),
            }
        }
    }

    /// The program was stopped: by the terminal, which means its whole job, so that our shell
    /// must see us stopped; or alone, which is nobody else's affair.
    fn stop_with_it(&mut self, number: i32) -> Result<()> {
        let is_by_terminal = [libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU].contains(&number);
        if !is_by_terminal && !self.is_asked_to_stop {
            return Ok(());
        }
        self.is_asked_to_stop = false;
        self.signals
            .stop_by(libc::SIGTSTP)
            .context("cannot stop with the program")?;
        // Where only we were continued, it is to be, too.
        if let Some(pid) = self.pid
            && tree::is_stopped(pid)
        {
            let _ = kill_process(pid, Signal::CONT);
        }
        Ok(())
    }

    fn ended(&mut self, status: ExitStatus) {
        self.pid = None;
        let code = exit_code(status);
        let now_ns = clock::monotonic_ns();
        let grace_ns = u64::try_from(self.args.grace.as_nanos()).unwrap_or(u64::MAX);
        let is_asked_to_end = self
            .asked_to_end_ns
            .is_some_and(|asked_to_end_ns| now_ns < asked_to_end_ns.saturating_add(grace_ns));
        self.phase = match self.phase {
            Phase::Ends { .. } if !is_asked_to_end => {
                for pid in tree::descendants() {
                    tree::send(pid, Signal::TERM);
                }
                Phase::LeftOver {
                    kill_ns: self.grace_from_now(),
                }
            }
            _ if self.args.respawn && !is_asked_to_end => {
                let ran = Duration::from_nanos(now_ns.saturating_sub(self.started_ns));
                let next = self.respawn.after(ran);
                if let Some(times) = next.crash_loop {
                    self.calls.explainer.hand(Job::Print(format!(
                        "the program does not stay up: {times} starts in a row ended at once, the \
                         last {}; the next one is in {:.1} s",
                        describe(status),
                        next.pause.as_secs_f64()
                    )));
                }
                let pause_ns = u64::try_from(next.pause.as_nanos()).unwrap_or(0);
                Phase::Pauses {
                    until_ns: now_ns.saturating_add(pause_ns),
                }
            }
            _ => Phase::Over { code },
        };
    }

    fn advance(&mut self) -> Result<()> {
        let now_ns = clock::monotonic_ns();
        match self.phase {
            Phase::Ends { kill_ns } if now_ns >= kill_ns => {
                if let Some(pid) = self.pid {
                    let _ = kill_process(pid, Signal::KILL);
                }
                self.phase = Phase::Ends { kill_ns: u64::MAX };
            }
            Phase::LeftOver { kill_ns } => {
                let left = tree::descendants();
                if left.is_empty() {
                    self.phase = Phase::Pauses { until_ns: 0 };
                } else if now_ns >= kill_ns {
                    for pid in left {
                        tree::send(pid, Signal::KILL);
                    }
                }
            }
            Phase::Pauses { until_ns } if now_ns >= until_ns => self.start_again()?,
            _ => {}
        }
        Ok(())
    }

    fn start_again(&mut self) -> Result<()> {
        match self.start().map_err(anyhow::Error::downcast::<StartError>) {
            // For want of processes or memory, it may go another time.
            Err(Ok(error @ StartError::Process(_))) if self.args.respawn => {
                let next = self.respawn.after(Duration::ZERO);
                self.calls.explainer.hand(Job::Print(error.to_string()));
                let pause_ns = u64::try_from(next.pause.as_nanos()).unwrap_or(0);
                self.phase = Phase::Pauses {
                    until_ns: clock::monotonic_ns().saturating_add(pause_ns),
                };
                Ok(())
            }
            Err(Ok(error)) => Err(error.into()),
            Err(Err(error)) => Err(error),
            Ok(()) => Ok(()),
        }
    }
}

fn exit_code(status: ExitStatus) -> u8 {
    let code = status
        .code()
        .or_else(|| status.signal().map(|number| 128 + number));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(2)
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("with exit code {code}"),
        (_, Some(number)) => format!("by signal {number}"),
        _ => "in a way that is not known".to_owned(),
    }
}

/// Whether we have a controlling terminal.
fn is_terminal_there() -> bool {
    File::open("/dev/tty").is_ok()
}

/// From Linux 5.9 on the kernel reports when nobody is left below a filter.
const REPORTS_END: (u32, u32) = (5, 9);

/// Processes are left that would be refused without anybody to answer their calls: a process
/// of ours stays as long as they do.
fn let_pass_from_now(listener: Arc<SeccompListener>) {
    let system = rustix::system::uname();
    let reports_end =
        numbers(&system.release().to_string_lossy()).is_some_and(|it| it >= REPORTS_END);
    if let Some(listener) = Arc::into_inner(listener)
        && reports_end
        && !listener.has_ended()
    {
        let passing = Command::new("/proc/self/exe")
            .arg("__pass")
            .stdin(Stdio::from(listener.into_fd()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .current_dir("/")
            .process_group(0)
            .spawn();
        if passing.is_err() {
            crate::commands::complain(
                "processes of the program go on, and their further binds fail with ENOSYS: \
                 nobody could be left to let them pass",
            );
        }
    }
}
