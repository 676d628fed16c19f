//! What becomes of each call that is put before us.
//!
//! A bind is made here, on the caller's own socket and with our copy of the address, for a
//! caller that may do what we may: so its outcome is known, and nothing that another thread
//! of the caller writes meanwhile counts. Every other call goes on as if nobody had looked.
//! A duplicate of a socket is closed before its call is answered, so that none is held open.

mod ask;
mod bind;
mod event;
mod held_back;
mod listen;
mod passed;

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use self::bind::Unacknowledged;
use self::held_back::{Pending, TRY_EVERY_NS};
use self::passed::{Passed, Unreported};
use super::explainer::{Explainer, Job};
use super::flood::Flood;
use super::hooks::Hooks;
use super::keep::KeptSockets;
use crate::clock;
use crate::snapshot::netns;
use crate::supervise::caller::Credentials;
use crate::supervise::notification::{Notification, SeccompListener, SystemCall};

/// Calls of one start that are taken before anything else is looked at.
const TAKE: usize = 64;
const EADDRINUSE: u32 = libc::EADDRINUSE.unsigned_abs();

/// What is to be done with calls.
#[derive(Clone, Debug)]
pub(in crate::commands) struct Policy {
    pub(in crate::commands) reuseaddr: bool,
    pub(in crate::commands) reuseport: bool,
    pub(in crate::commands) hold_back: HoldBack,
    pub(in crate::commands) verbose: bool,
}

/// For how long a bind is held back that the kernel does not allow yet.
#[derive(Clone, Copy, Debug)]
pub(in crate::commands) enum HoldBack {
    /// It fails at once.
    Never,
    /// It fails after so long.
    AtMost(Duration),
    /// It does not fail.
    Always,
}

impl HoldBack {
    /// How long at most, in nanoseconds; `None`: without an end.
    fn longest_ns(self) -> Option<u64> {
        match self {
            Self::Never => Some(0),
            Self::AtMost(time) => Some(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)),
            Self::Always => None,
        }
    }
}

/// All that is decided about calls.
pub(in crate::commands) struct Calls {
    policy: Policy,
    own: Credentials,
    netns: u32,
    pub(super) kept_sockets: KeptSockets,
    pub(super) explainer: Explainer,
    pending: Vec<Pending>,
    waits: u64,
    /// Calls that went on.
    passed: Vec<Passed>,
    /// Those of them that have failed, until the hooks have reported more.
    unreported: Vec<Unreported>,
    hooks: Option<Hooks>,
    /// Binds whose answer their callers may not have received.
    unacknowledged: VecDeque<Unacknowledged>,
    /// A process of the program is in a Landlock domain, which nothing shows: what it may
    /// bind is not known any more.
    is_confined: bool,
    flood: Flood,
    /// Calls that have failed until now.
    failed: u64,
}

impl Calls {
    pub(in crate::commands) fn new(
        policy: Policy,
        kept_sockets: KeptSockets,
        explainer: Explainer,
    ) -> Result<Self> {
        Ok(Self {
            policy,
            own: Credentials::own().context("cannot read our own rights in /proc; mount it")?,
            netns: netns::current()?,
            kept_sockets,
            explainer,
            pending: Vec::new(),
            waits: 0,
            passed: Vec::new(),
            unreported: Vec::new(),
            hooks: None,
            unacknowledged: VecDeque::new(),
            is_confined: false,
            flood: Flood::default(),
            failed: 0,
        })
    }

    /// Has the kernel's hooks attached, which report more of calls that go on. Where there are
    /// none, it goes without.
    pub(super) fn want_hooks(&mut self) {
        match &self.hooks {
            Some(hooks) => hooks.want(),
            None => self.hooks = Hooks::start().ok(),
        }
    }

    /// How many calls have failed until now, those that are not explained too.
    pub(in crate::commands) fn failed(&self) -> u64 {
        self.failed
    }

    /// Whether no socket of the program is held open to look after its calls.
    pub(in crate::commands) fn holds_none(&self) -> bool {
        self.passed.is_empty()
    }

    /// With `-v`, what has become of the hooks.
    fn report_hooks(&self) {
        let status = self.hooks.as_ref().and_then(Hooks::take_status);
        if let Some(status) = status.filter(|_| self.policy.verbose) {
            self.explainer.hand(Job::Print(status));
        }
    }

    /// Decides about the calls that wait, so many of each start at most: signals come between.
    pub(in crate::commands) fn take_waiting(
        &mut self,
        listeners: &mut Vec<Arc<SeccompListener>>,
    ) -> Result<()> {
        for listener in &*listeners {
            for _ in 0..TAKE {
                let mut request = [PollFd::new(&**listener, PollFlags::IN)];
                let is_there = poll(&mut request, Some(&Timespec::default()));
                let [request] = request;
                if is_there.is_err() || !request.revents().contains(PollFlags::IN) {
                    break;
                }
                let taken = listener
                    .receive()
                    .context("cannot take the program's calls")?;
                if let Some(notification) = taken {
                    self.take(listener, notification);
                }
            }
        }
        // Of a start all of whose processes have ended nothing comes any more.
        listeners.retain(|listener| !listener.has_ended());
        Ok(())
    }

    /// Decides about a call.
    pub(in crate::commands) fn take(
        &mut self,
        listener: &Arc<SeccompListener>,
        notification: Notification,
    ) {
        let Notification { id, tid, call } = notification;
        // What we still have of sockets may not be in the way of it.
        self.poll_passed(Some(tid));
        match call {
            SystemCall::Bind { fd, addr, len } => {
                match self.ask(listener, id, tid, fd, addr, len) {
                    Ok(request) if request.is_own => self.bind(request),
                    Ok(request) => self.pass_and_poll(request),
                    Err(why) => self.pass(listener, id, tid, why),
                }
            }
            SystemCall::Listen { fd, backlog } => self.listen(listener, id, tid, fd, backlog),
            SystemCall::LandlockRestrictSelf => {
                self.is_confined = true;
                let why = "binds are not made for the program from here on: it has a Landlock \
                           domain, which nothing shows";
                self.pass(listener, id, tid, Some(why));
            }
            SystemCall::OtherTable => {
                let why = "a bind of a 32-bit or x32 program goes on as it is";
                self.pass(listener, id, tid, Some(why));
            }
        }
    }

    /// The call goes on; with `-v` it is said why it was not looked at.
    fn pass(&self, listener: &SeccompListener, id: u64, tid: u32, why: Option<&str>) {
        if let Some(why) = why.filter(|_| self.policy.verbose) {
            self.explainer
                .hand(Job::Print(format!("{why} (thread {tid})")));
        }
        listener.let_pass(id);
    }

    /// What is to be done from time to time; gives how long nothing else is.
    pub(in crate::commands) fn advance(&mut self, is_running: bool) -> Duration {
        let now_ns = clock::monotonic_ns();
        self.poll_passed(None);
        self.report_failed(now_ns);
        self.report_hooks();
        self.try_pending(now_ns);
        for address in self.kept_sockets.check(now_ns, is_running) {
            self.explainer.hand(Job::Print(format!(
                "nobody accepts connections on {address} any more: the kept socket is closed, and \
                 clients are refused"
            )));
        }
        self.flood.report(now_ns, &self.explainer);
        if !self.passed.is_empty() || !self.unreported.is_empty() {
            Duration::from_millis(1)
        } else if !self.pending.is_empty() {
            Duration::from_nanos(TRY_EVERY_NS)
        } else if !self.kept_sockets.is_empty() {
            Duration::from_millis(50)
        } else {
            Duration::from_secs(1)
        }
    }

    /// Says and writes what is left.
    pub(in crate::commands) fn finish(mut self) {
        self.poll_passed(None);
        while !self.unreported.is_empty() {
            thread::sleep(Duration::from_millis(1));
            self.report_failed(clock::monotonic_ns());
        }
        self.report_hooks();
        for pending in std::mem::take(&mut self.pending) {
            let _ = pending
                .request
                .listener
                .answer(pending.request.id, EADDRINUSE);
        }
        self.flood.report(u64::MAX, &self.explainer);
        self.explainer.finish();
    }
}
