//! Explains failed calls and records what is called, in a thread of its own: reading what
//! holds a port takes longer than other calls of the program may wait.
//!
//! The answer to a failed call is held back until it is explained, so that its process is
//! still there to be looked at, and what is said stands above what the program says itself.

mod lookup;
mod worker;

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};

use crate::diagnosis::CallKind;
use crate::event::{Body, Call, CallName, Diagnosis, KnownBy, Probe, ProbeStatus, Process};
use crate::recording::parts::Rotation;
use crate::recording::writer::{RecordError, Writer};
use crate::snapshot::{owners, proc};
use crate::supervise::notification::SeccompListener;
use worker::Worker;

/// Calls that wait to be explained or recorded. Beyond, they are counted only.
const MAX_WAITING: usize = 64;
/// How long the end is held up by what is still to be explained.
const END_LASTS: Duration = Duration::from_secs(3);

/// An answer that a call waits for. It is given when this is dropped, whatever happens.
#[derive(Debug)]
pub(super) struct PendingAnswer {
    pub(super) listener: Arc<SeccompListener>,
    pub(super) id: u64,
    pub(super) errno: u32,
}

impl Drop for PendingAnswer {
    fn drop(&mut self) {
        // Its thread may have been killed meanwhile.
        let _ = self.listener.answer(self.id, self.errno);
    }
}

/// What there is to do.
#[derive(Debug)]
pub(super) enum Job {
    /// A call was made.
    Call {
        mono_ns: u64,
        kind: CallKind,
        call: Box<Call>,
        /// Given once it is explained.
        answer: Option<PendingAnswer>,
    },
    /// A bind is held back.
    WaitBegins {
        id: u64,
        call: Box<Call>,
        until_ns: Option<u64>,
    },
    /// It is not any more.
    WaitEnds { id: u64, is_bound: bool },
    /// Failed calls that were only counted.
    Flood {
        call: CallName,
        process: Box<Process>,
        count: u64,
    },
    /// A line for who reads stderr.
    Print(String),
}

/// Where failed calls are reported.
#[derive(Debug)]
pub(in crate::commands) enum FailureSink {
    /// Standard error, in words.
    Stderr,
    /// Another part of the program, which gets each call, and its diagnosis before it is
    /// answered.
    Channel(Sender<Observation>),
}

/// What another part of the program gets.
#[derive(Debug)]
pub(in crate::commands) enum Observation {
    /// What was called, or seen of it.
    Fact(u64, Box<Body>),
    /// Why it has failed.
    Diagnosis(Box<Diagnosis>),
}

/// The thread, seen from the one that takes calls.
#[derive(Debug)]
pub(in crate::commands) struct Explainer {
    jobs: Option<SyncSender<Job>>,
    done: Receiver<()>,
    thread: Option<JoinHandle<()>>,
    /// Calls that succeed are wanted, too.
    pub(super) is_recording: bool,
}

impl Explainer {
    /// Begins. `json`: the file that the events go to.
    pub(in crate::commands) fn start(json: Option<&Path>, sink: FailureSink) -> Result<Self> {
        let recording = json
            .map(|path| {
                Writer::create(path, Rotation::default()).map_err(|error| match error {
                    RecordError::Create { path, source } => anyhow!(
                        "cannot write the events to {}: {source}; choose another file with --json",
                        path.display()
                    ),
                    error => error.into(),
                })
            })
            .transpose()?;
        // Diagnoses rest on what was called before, for whoever gets them alone, too.
        let is_recording = recording.is_some() || matches!(sink, FailureSink::Channel(_));
        let (jobs, to_do) = sync_channel(MAX_WAITING);
        let (ended, done) = sync_channel(1);
        let thread = thread::Builder::new()
            .name("explainer".to_owned())
            .spawn(move || {
                Worker::new(recording, sink).work(&to_do);
                let _ = ended.send(());
            })
            .context("cannot start a thread")?;
        Ok(Self {
            jobs: Some(jobs),
            done,
            thread: Some(thread),
            is_recording,
        })
    }

    /// `false`: there is too much to do already. An answer is given then.
    pub(super) fn hand(&self, job: Job) -> bool {
        self.jobs
            .as_ref()
            .is_some_and(|jobs| jobs.try_send(job).is_ok())
    }

    /// Waits until everything is said and written, as far as there is time.
    pub(super) fn finish(&mut self) {
        self.jobs = None;
        if self.done.recv_timeout(END_LASTS).is_ok()
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
    }
}

/// How calls are seen.
pub(in crate::commands) fn probe() -> Probe {
    Probe {
        name: "bind, listen".to_owned(),
        kind: Probe::SUPERVISOR.to_owned(),
        status: ProbeStatus::Attached,
        why: None,
    }
}

/// The process that a thread belongs to, as far as `/proc` shows it.
pub(super) fn process(pid: u32, tid: u32) -> Process {
    let shown = proc::has_our_numbers().then(|| owners::process(pid));
    let mut process = shown
        .flatten()
        .unwrap_or_else(|| Process::new(pid, 0, "?", KnownBy::Unknown));
    process.tid = Some(tid);
    process.via = KnownBy::Syscall;
    process
}
