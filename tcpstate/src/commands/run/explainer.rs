//! Explains failed calls and records what is called, in a thread of its own: reading what
//! holds a port takes longer than other calls of the program may wait.
//!
//! The answer to a failed call is held back until it is explained, so that its process is
//! still there to be looked at, and what is said stands above what the program says itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use super::github;
use super::progress::{Progress, Waiting};
use crate::clock;
use crate::commands::explain::{Extent, PortHolders, Wish, name_processes};
use crate::commands::header;
use crate::diagnosis::{CallKind, Environment, Question, explain};
use crate::engine::Limits;
use crate::event::{
    Body, Call, CallName, Capture, Diagnosis, Endpoint, Explanation, Flood, Header, KnownBy, Probe,
    ProbeStatus, Process, Seen, Sock, SocketSeen, Source, State, YesNo,
};
use crate::export::describe::{self, Context};
use crate::kernel::{capabilities, errno_name};
use crate::pipeline::outputs::Stdout;
use crate::pipeline::{Outputs, Pipeline, Selector};
use crate::recording::parts::Rotation;
use crate::recording::writer::{RecordError, Writer};
use crate::snapshot::cgroup::Units;
use crate::snapshot::netns::{self, Namespaces};
use crate::snapshot::{ephemeral, executable, ipv6, owners, port, proc, rights, sysctl};
use crate::supervise::notification::Listener;

/// Calls that wait to be explained or recorded. Beyond, they are counted only.
const MAX_WAITING: usize = 64;
/// How long the end is held up by what is still to be explained.
const END_LASTS: Duration = Duration::from_secs(3);
/// How often the progress of what waits is shown.
const REDRAW: Duration = Duration::from_secs(1);

/// An answer that a call waits for. It is given when this is dropped, whatever happens.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) listener: Arc<Listener>,
    pub(super) id: u64,
    pub(super) errno: u32,
}

impl Drop for Answer {
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
        answer: Option<Answer>,
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
    Say(String),
}

/// Who hears of failed calls.
#[derive(Debug)]
pub(in crate::commands) enum Tell {
    /// Who reads stderr, in words.
    Stderr,
    /// Another part of the program, which hears of each call, and of its diagnosis before it
    /// is answered.
    Channel(Sender<Told>),
}

/// What another part of the program hears.
#[derive(Debug)]
pub(in crate::commands) enum Told {
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
    pub(in crate::commands) fn start(json: Option<&Path>, tell: Tell) -> Result<Self> {
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
        // Who hears of diagnoses alone is to hear of those that rest on what was called before.
        let is_recording = recording.is_some() || matches!(tell, Tell::Channel(_));
        let (jobs, to_do) = sync_channel(MAX_WAITING);
        let (ended, done) = sync_channel(1);
        let thread = thread::Builder::new()
            .name("explainer".to_owned())
            .spawn(move || {
                Worker::new(recording, tell).work(&to_do);
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

struct Worker {
    pipeline: Pipeline,
    header: Header,
    namespaces: Namespaces,
    /// Of the last port that was read, and in which namespace.
    holders: Option<((u32, u16), PortHolders)>,
    progress: Progress,
    tell: Tell,
}

impl Worker {
    fn new(recording: Option<Writer>, tell: Tell) -> Self {
        let header = header::of(vec![probe()], Capture::Tracepoints, sysctl::read());
        let outputs = Outputs::new(Stdout::None, recording);
        let mut worker = Self {
            pipeline: Pipeline::new(Limits::default(), Selector::default(), outputs),
            header: header.clone(),
            namespaces: Namespaces::default(),
            holders: None,
            progress: Progress::new(),
            tell,
        };
        let mono_ns = header.clock.mono_ns;
        worker.feed(mono_ns, Body::Header(Box::new(header)));
        worker
    }

    fn work(mut self, jobs: &Receiver<Job>) {
        loop {
            match jobs.recv_timeout(REDRAW) {
                Ok(job) => self.take(job),
                Err(RecvTimeoutError::Timeout) => self.progress.redraw(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.progress.clear();
        let finished = self.pipeline.finish(clock::monotonic_ns(), "command");
        if let Err(error) = finished {
            super::progress::say(&error.to_string());
        }
        self.complain_of_recording();
    }

    fn take(&mut self, job: Job) {
        match job {
            Job::Call {
                mono_ns,
                kind,
                mut call,
                answer,
            } => {
                if call.is_sum {
                    let like = self.pipeline.engine().failure_like(kind, &call);
                    if let Some(like) = like {
                        call.process = Arc::clone(&like.call.process);
                    }
                } else if !call.ok {
                    self.complete(kind, &mut call);
                }
                let listener = self.opened(kind, &call);
                self.feed(mono_ns, body(kind, call));
                if let Some(listener) = listener {
                    self.feed(mono_ns, Body::Socket(listener));
                }
                self.tell(kind);
                drop(answer);
            }
            Job::WaitBegins { id, call, until_ns } => {
                let question = self.ask(&call);
                self.progress.begin(Waiting::new(
                    id,
                    &call,
                    question.as_ref(),
                    until_ns,
                    clock::monotonic_ns(),
                ));
            }
            Job::WaitEnds { id, is_bound } => self.progress.end(id, is_bound),
            Job::Flood {
                call,
                process,
                count,
            } => {
                let flood = Flood {
                    call,
                    uid: process.uid,
                    pid: process.pid,
                    comm: process.comm.to_string(),
                    count,
                };
                let name = flood.call.name();
                self.say(&format!(
                    "{count} more calls of {name} failed than could be explained"
                ));
                self.feed(clock::monotonic_ns(), Body::Flood(flood));
            }
            Job::Say(line) => self.say(&line),
        }
    }

    /// A listener, for whom it matters later who has opened it: no hook tells that here.
    fn opened(&self, kind: CallKind, call: &Call) -> Option<SocketSeen> {
        let is_wanted = matches!(self.tell, Tell::Channel(_));
        if kind != CallKind::Listen || !call.ok || !is_wanted {
            return None;
        }
        let local = call.local?;
        Some(SocketSeen {
            sock: call.sock?,
            local,
            peer: Endpoint {
                addr: match local.addr {
                    IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
                    IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
                },
                port: 0,
            },
            state: State::Listen,
            process: Some(Arc::clone(&call.process)),
            processes: None,
            reuse: Some(call.reuse),
            expires_ms: None,
            netns_ended: None,
            ended: None,
            source: Source::Snapshot,
        })
    }

    fn say(&mut self, line: &str) {
        if matches!(self.tell, Tell::Channel(_)) {
            return;
        }
        self.progress.clear();
        super::progress::say(line);
    }

    fn feed(&mut self, mono_ns: u64, body: Body) {
        if let Tell::Channel(channel) = &self.tell {
            // Nobody waits for it any more where that fails.
            let _ = channel.send(Told::Fact(mono_ns, Box::new(body.clone())));
        }
        let fed = self.pipeline.feed(mono_ns, body);
        if let Err(error) = fed.and_then(|()| self.pipeline.write_out()) {
            self.say(&error.to_string());
        }
        self.complain_of_recording();
    }

    fn complain_of_recording(&mut self) {
        if let Some(error) = self.pipeline.outputs_mut().take_recording_error() {
            self.say(&error.to_string());
        }
    }

    /// What only a look into the tables and `/proc` shows, while the call waits.
    fn complete(&mut self, kind: CallKind, call: &mut Call) {
        let (pid, tid) = (call.process.pid, call.process.tid.unwrap_or(0));
        let mut caller = process(pid, tid);
        if &*caller.comm == "?" {
            // It has gone; what was read before is what is known.
            caller = (*call.process).clone();
        }
        caller.language = executable::language(pid);
        caller.unit = owners::unit(&caller, &mut Units::default());
        caller.identity = owners::of_caller(&caller).map(Arc::new);
        call.process = Arc::new(caller);
        let Some(Sock { netns, .. }) = call.sock else {
            return;
        };
        let read = || (sysctl::read(), netns::rtnetlink_inode());
        // A namespace that cannot be entered is not looked into.
        let Ok((sysctls, rtnetlink_inode)) = self.namespaces.inside(netns, read) else {
            return;
        };
        let start = sysctls.ip_unprivileged_port_start;
        call.unprivileged_port_start = start.and_then(|start| start.try_into().ok());
        call.sysctls = Some(Box::new(sysctls));
        call.rtnetlink_inode = rtnetlink_inode;
        if Some(netns) != self.header.netns {
            call.netns_name = netns::name_of(netns).map(Into::into);
        }
        if call.errno.is_none() {
            self.infer(kind, call);
        }
        let is_refused = matches!(call.errno_name.as_deref(), Some("EACCES" | "EPERM"));
        if is_refused && call.rights.is_none() {
            call.rights = rights::of(pid, netns);
        }
        if let (Some(IpAddr::V6(addr)), Some("EADDRNOTAVAIL")) =
            (call.requested.addr, call.errno_name.as_deref())
        {
            let ipv6 = self.namespaces.inside(netns, || ipv6::read(addr));
            call.ipv6 = ipv6.ok().flatten().map(Box::new);
        }
        let wants_any =
            call.requested.port == 0 && call.errno_name.as_deref() == Some("EADDRINUSE");
        if let (Some(addr), Some(sysctls), true) =
            (call.requested.addr, call.sysctls.as_deref(), wants_any)
        {
            let purpose = ephemeral::Purpose::Bind(addr);
            let count = || ephemeral::read(netns, sysctls, purpose);
            let counted = self.namespaces.inside(netns, count).ok().flatten();
            call.ephemeral = counted.map(|(counted, _)| Box::new(counted));
        }
        let is_about_port = call.errno_name.as_deref() == Some("EADDRINUSE") || is_refused;
        if is_about_port && call.requested.port != 0 {
            let walked = call.seen.take();
            let seen = match walked {
                Some(walked) if walked.is_complete => Some(walked),
                Some(walked) => match self.read(netns, call.requested.port) {
                    Some((read, _)) => Some(port::merge(&walked, &read.holders)),
                    None => Some(walked),
                },
                None => self.read(netns, call.requested.port).map(|(seen, _)| seen),
            };
            call.seen = seen.map(|mut seen| {
                let _ = name_processes(&mut seen);
                seen
            });
        }
    }

    /// The error of a call that has not taken effect, as the kernel's rule gives it; none, where
    /// it does not.
    fn infer(&mut self, kind: CallKind, call: &mut Call) {
        let errno = match kind {
            CallKind::Listen => {
                let own = call.sock.map_or(0, |sock| sock.cookie);
                let netns = call.sock.map_or(0, |sock| sock.netns);
                let seen = self.read(netns, call.requested.port);
                let mut others = seen.iter().flat_map(|(seen, _)| &seen.holders);
                others
                    .any(|it| it.state == State::Listen && it.sock.cookie != own)
                    .then_some(libc::EADDRINUSE)
            }
            _ => self.rule(call),
        };
        if let Some(errno) = errno.map(i32::unsigned_abs) {
            call.errno = Some(errno);
            call.errno_name = Some(errno_name(errno));
            call.errno_inferred = true;
        }
    }

    /// What the rule says to a bind like this one, in the order in which the kernel asks.
    fn rule(&mut self, call: &Call) -> Option<i32> {
        let Sock { netns, family, .. } = call.sock?;
        let wish = Wish {
            addr: call.requested.addr?,
            scope: call.bound_dev_if.unwrap_or(0),
            family,
            reuse: call.reuse,
            device: None,
        };
        let address = self.namespaces.inside(netns, || wish.try_address()).ok()?;
        if let Err(errno) = address {
            return Some(errno.raw_os_error());
        }
        let may_have_low_ports = call
            .rights
            .is_some_and(|rights| rights.net_bind_service && rights.owns_netns != Some(false));
        let is_low = call
            .unprivileged_port_start
            .is_some_and(|start| u32::from(call.requested.port) < start);
        if is_low && !may_have_low_ports {
            return Some(libc::EACCES);
        }
        let explanation = self.ask(call)?;
        (explanation.would_bind == YesNo::No).then_some(libc::EADDRINUSE)
    }

    /// The sockets on a port, and what could not be seen of them.
    fn read(&mut self, netns: u32, port: u16) -> Option<(Seen, Vec<String>)> {
        if self
            .holders
            .as_ref()
            .is_none_or(|(of, _)| *of != (netns, port))
        {
            let make = || {
                socket_with(
                    AddressFamily::INET,
                    SocketType::STREAM,
                    SocketFlags::CLOEXEC,
                    None,
                )
            };
            let guide: OwnedFd = self.namespaces.inside(netns, make).ok()?.ok()?;
            self.holders = Some(((netns, port), PortHolders::new(netns, port, guide)));
        }
        let (_, holders) = self.holders.as_mut()?;
        let (seen, missing) = holders.read(&mut self.namespaces, Extent::Alike).ok()?;
        Some((seen.unwrap_or_else(Seen::unread), missing))
    }

    /// What a bind like this one would meet now.
    fn ask(&mut self, call: &Call) -> Option<Explanation> {
        let Sock { netns, family, .. } = call.sock?;
        let (mut seen, mut missing) = self.read(netns, call.requested.port)?;
        missing.extend(name_processes(&mut seen));
        let sysctls = self.namespaces.inside(netns, sysctl::read).ok()?;
        Some(explain(&Question {
            addr: call.requested.addr?,
            port: call.requested.port,
            family,
            reuse: call.reuse,
            device: call.bound_dev_if,
            uid: call.uid.unwrap_or(0),
            netns,
            has_net_bind_service: call
                .rights
                .map_or_else(capabilities::has_net_bind_service, |it| it.net_bind_service),
            ipv6: None,
            address_error: None,
            seen: Some(&seen),
            environment: &Environment {
                own_netns: netns::current().ok(),
                ..Environment::from(&sysctls)
            },
            tried: None,
            missing: &missing,
            ancestors: &[],
        }))
    }

    /// Says the failed call that has just been taken in, and why.
    fn tell(&mut self, kind: CallKind) {
        let name = if kind == CallKind::Bind {
            "bind"
        } else {
            "listen"
        };
        let log = self.pipeline.engine().log();
        let mut text = String::new();
        let mut diagnosed: Option<Diagnosis> = None;
        let mut latest: Vec<_> = log.iter().rev().take(4).collect();
        latest.reverse();
        let Some(at) = latest
            .iter()
            .rposition(|event| event.body.name() == name)
            .filter(|at| {
                latest
                    .get(*at)
                    .and_then(|event| event.body.call())
                    .is_some_and(|call| !call.ok)
            })
        else {
            return;
        };
        for event in latest.into_iter().skip(at) {
            let failed = match &event.body {
                Body::Diagnosis(diagnosis) => {
                    diagnosed = Some((**diagnosis).clone());
                    log.get(diagnosis.of).and_then(|call| call.body.call())
                }
                body if body.name() == name => None,
                _ => continue,
            };
            let context = Context {
                failed,
                ..Context::of(&self.header)
            };
            if let Some(said) = describe::text(event, &context) {
                text.push_str("tcpstate: ");
                text.push_str(&said);
                text.push('\n');
            }
        }
        if let Tell::Channel(channel) = &self.tell {
            if let Some(diagnosis) = diagnosed {
                // Nobody waits for it any more where that fails.
                let _ = channel.send(Told::Diagnosis(Box::new(diagnosis)));
            }
            return;
        }
        self.progress.clear();
        super::progress::write(&text);
        if let Some(diagnosis) = diagnosed {
            github::annotate(&diagnosis);
        }
    }
}

fn body(kind: CallKind, call: Box<Call>) -> Body {
    match kind {
        CallKind::Bind => Body::Bind(call),
        CallKind::Listen => Body::Listen(call),
        CallKind::Connect => Body::Connect(call),
    }
}
