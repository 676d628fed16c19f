//! What becomes of each call that is put before us.
//!
//! A bind is made here, on the caller's own socket and with our copy of the address, for a
//! caller that may do what we may: so its outcome is known, and nothing that another thread
//! of the caller writes meanwhile counts. Every other call goes on as if nobody had looked.
//! A duplicate of a socket is closed before its call is answered, so that none is held open.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt;

use super::explainer::{self, Answer, Explainer, Job};
use super::flood::{Fate, Flood};
use super::keep::{Bound, Keeps, Match};
use crate::clock;
use crate::diagnosis::CallKind;
use crate::event::{Call, Endpoint, Family, KnownBy, Process, Requested, Via};
use crate::kernel::errno_name;
use crate::snapshot::netns;
use crate::supervise::caller::{self, Rights};
use crate::supervise::notification::{Listener, Notification, SystemCall};
use crate::supervise::proc;
use crate::supervise::socket::{self, Address, Nature};

/// Calls of one start that are taken before anything else is looked at.
const TAKE: usize = 64;
const EADDRINUSE: u32 = libc::EADDRINUSE.unsigned_abs();
/// Time between two tries of a bind that is held back.
const TRY_EVERY_NS: u64 = 20_000_000;
/// A call that a signal has ended begins anew within this time, or not at all.
const COMES_AGAIN_NS: u64 = 200_000_000;
/// Binds that are held back at one time; one more fails.
const MAX_WAITING: usize = 256;
/// Binds that were made and whose callers a signal took away before they heard of it.
const MAX_UNHEARD: usize = 64;
/// A call that goes on has taken effect after so long.
const TAKES_EFFECT_NS: u64 = 10_000_000;
/// The same of a thread that waits for a processor, or has one.
const TAKES_EFFECT_AT_LAST_NS: u64 = 1_000_000_000;
/// Calls of `listen` that are looked after at one time.
const MAX_LISTENING: usize = 64;

/// What is to be done with calls.
#[derive(Clone, Debug)]
pub(in crate::commands) struct Wishes {
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

/// A call of the program as far as it is known.
struct Asked {
    listener: Arc<Listener>,
    id: u64,
    tid: u32,
    fd: i32,
    address: Address,
    socket: OwnedFd,
    family: Family,
}

/// A bind that is held back.
struct Pending {
    asked: Asked,
    pid: u32,
    began_ns: u64,
    tried_ns: u64,
    /// A signal has ended the call, which may begin anew.
    ended_ns: Option<u64>,
    /// Its name towards who shows the progress.
    name: u64,
}

/// A bind that was made, and that begins anew if a signal took its caller away before it heard
/// of it.
struct Unheard {
    /// Of the socket.
    cookie: u64,
    tid: u32,
    address: Address,
    /// It is not the same call any more from then on.
    until_ns: u64,
}

/// A `listen` that went on, until it shows whether it took effect.
struct Listening {
    socket: OwnedFd,
    tid: u32,
    since_ns: u64,
    call: Box<Call>,
}

impl Listening {
    /// The call has returned, whatever came of it.
    fn is_over(&self, now_ns: u64) -> bool {
        let since = |time_ns: u64| now_ns >= self.since_ns.saturating_add(time_ns);
        // On a busy machine its thread may not have had a processor yet.
        let is_runnable = || proc::stat(self.tid).is_some_and(|stat| stat.state == 'R');
        since(TAKES_EFFECT_NS) && (since(TAKES_EFFECT_AT_LAST_NS) || !is_runnable())
    }
}

/// All that is decided about calls.
pub(in crate::commands) struct Calls {
    wishes: Wishes,
    own: Rights,
    netns: u32,
    pub(super) keeps: Keeps,
    pub(super) explainer: Explainer,
    pending: Vec<Pending>,
    waits: u64,
    listening: Vec<Listening>,
    /// Binds of which their callers may not have heard.
    unheard: VecDeque<Unheard>,
    /// A process of the program is in a Landlock domain, which nothing shows: what it may
    /// bind is not known any more.
    is_confined: bool,
    flood: Flood,
    /// Calls that have failed until now.
    failed: u64,
}

impl Calls {
    pub(in crate::commands) fn new(
        wishes: Wishes,
        keeps: Keeps,
        explainer: Explainer,
    ) -> Result<Self> {
        Ok(Self {
            wishes,
            own: Rights::own().context("cannot read our own rights in /proc; mount it")?,
            netns: netns::current()?,
            keeps,
            explainer,
            pending: Vec::new(),
            waits: 0,
            listening: Vec::new(),
            unheard: VecDeque::new(),
            is_confined: false,
            flood: Flood::default(),
            failed: 0,
        })
    }

    /// How many calls have failed until now, those that are not explained too.
    pub(in crate::commands) fn failed(&self) -> u64 {
        self.failed
    }

    /// Whether no socket of the program is held open to look after its `listen`.
    pub(in crate::commands) fn holds_none(&self) -> bool {
        self.listening.is_empty()
    }

    /// Decides about the calls that wait, so many of each start at most: signals come between.
    pub(in crate::commands) fn take_waiting(
        &mut self,
        listeners: &mut Vec<Arc<Listener>>,
    ) -> Result<()> {
        for listener in &*listeners {
            for _ in 0..TAKE {
                let mut asked = [PollFd::new(&**listener, PollFlags::IN)];
                let is_there = poll(&mut asked, Some(&Timespec::default()));
                let [asked] = asked;
                if is_there.is_err() || !asked.revents().contains(PollFlags::IN) {
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
        listener: &Arc<Listener>,
        notification: Notification,
    ) {
        let Notification { id, tid, call } = notification;
        // What we still have of sockets may not be in the way of it.
        self.look_after_listening(true);
        match call {
            SystemCall::Bind { fd, addr, len } => {
                match self.ask(listener, id, tid, fd, addr, len) {
                    Ok(asked) => self.bind(asked),
                    Err(why) => self.pass(listener, id, tid, why),
                }
            }
            SystemCall::Listen { fd, .. } => self.listen(listener, id, tid, fd),
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
    fn pass(&self, listener: &Listener, id: u64, tid: u32, why: Option<&str>) {
        if let Some(why) = why.filter(|_| self.wishes.verbose) {
            self.explainer
                .hand(Job::Say(format!("{why} (thread {tid})")));
        }
        listener.let_pass(id);
    }

    /// What a bind asks for. An error: it goes on as it is; with the reason, where it is one.
    fn ask(
        &self,
        listener: &Arc<Listener>,
        id: u64,
        tid: u32,
        fd: i32,
        addr: u64,
        len: u32,
    ) -> Result<Asked, Option<&'static str>> {
        let address = caller::address(tid, addr, len).ok_or(Some(
            "a bind goes on as it is: the memory of its process cannot be read",
        ))?;
        let address = Address::parse(address).ok_or(None)?;
        let socket = caller::descriptor(tid, fd).map_err(|errno| {
            // The kernel says so itself.
            let is_bad = errno == rustix::io::Errno::BADF;
            (!is_bad)
                .then_some("a bind goes on as it is: the socket of its process is not to be had")
        })?;
        let family = socket::tcp_family(&socket).ok_or(None)?;
        // Until here it was its thread that was looked at.
        if !listener.is_valid(id) {
            return Err(None);
        }
        if address.endpoint.port != 0 {
            // Whoever the socket belongs to: the options need no right.
            let _ = socket::set_reuse(&socket, self.wishes.reuseaddr, self.wishes.reuseport);
        }
        if !self.may_act_for(tid) {
            return Err(Some(
                "a bind goes on as it is and is not explained: its process has other rights",
            ));
        }
        if !listener.is_valid(id) {
            return Err(None);
        }
        Ok(Asked {
            listener: Arc::clone(listener),
            id,
            tid,
            fd,
            address,
            socket,
            family,
        })
    }

    fn may_act_for(&self, tid: u32) -> bool {
        !self.is_confined && Rights::of(tid).is_some_and(|rights| rights == self.own)
    }

    fn bind(&mut self, asked: Asked) {
        let port = asked.address.endpoint.port;
        let cookie = sockopt::socket_cookie(&asked.socket).unwrap_or(0);
        let now_ns = clock::monotonic_ns();
        self.unheard.retain(|unheard| now_ns < unheard.until_ns);
        if let Some(at) = self.unheard.iter().position(|unheard| {
            unheard.cookie == cookie
                && unheard.tid == asked.tid
                && unheard.address.is_like(&asked.address)
        }) {
            // The same call once more: a signal had ended it after the bind was made.
            self.unheard.remove(at);
            self.done(asked, cookie);
            return;
        }
        let wanted = self.keeps.is_for(port).then(|| Bound {
            address: asked.address.clone(),
            nature: Nature::of(&asked.socket),
        });
        let asked = match &wanted {
            Some(wanted) => match self.put_kept_in_place(asked, wanted) {
                Some(asked) => asked,
                None => return,
            },
            None => asked,
        };
        let mut result = socket::bind(&asked.socket, &asked.address);
        if result == Err(EADDRINUSE) && wanted.is_some() && self.clear_way(&asked) {
            result = socket::bind(&asked.socket, &asked.address);
        }
        match result {
            Ok(()) => {
                if let Some(wanted) = wanted {
                    self.keeps.note_bound(cookie, wanted);
                }
                self.done(asked, cookie);
            }
            Err(EADDRINUSE) if self.waits_for(&asked) => self.hold_back(asked),
            Err(errno) => self.refuse(asked, errno),
        }
    }

    /// The bind was made: its caller hears of it.
    fn done(&mut self, asked: Asked, cookie: u64) {
        let job = self.explainer.is_recording.then(|| {
            let local = socket::local(&asked.socket);
            let mut call = self.call(&asked, Ok(()));
            call.local = local;
            call.process = Arc::new(name(asked.tid));
            Job::Call {
                mono_ns: clock::monotonic_ns(),
                kind: CallKind::Bind,
                call: Box::new(call),
                answer: None,
            }
        });
        let Asked {
            listener,
            id,
            tid,
            address,
            socket,
            ..
        } = asked;
        drop(socket);
        let is_answered = listener.answer(id, 0);
        // Before Linux 5.19 a signal may end the call although the kernel has taken the answer.
        if !is_answered || !listener.installed.waits_killable {
            if self.unheard.len() >= MAX_UNHEARD {
                self.unheard.pop_front();
            }
            self.unheard.push_back(Unheard {
                cookie,
                tid,
                address,
                until_ns: clock::monotonic_ns().saturating_add(COMES_AGAIN_NS),
            });
        }
        if let Some(job) = job {
            self.explainer.hand(job);
        }
    }

    /// The kept socket becomes the caller's, if there is one. Else the bind is to be made.
    fn put_kept_in_place(&mut self, asked: Asked, wanted: &Bound) -> Option<Asked> {
        let Match::Same(position) = self.keeps.find(wanted) else {
            return Some(asked);
        };
        let kept = self.keeps.at(position)?;
        let is_like_it = socket::take_over(&kept.socket, &asked.socket);
        // Between this and the next line another thread of the caller could put something
        // else into its place; it would do so to itself.
        let is_there =
            caller::inode(asked.tid, asked.fd) == socket::file(&asked.socket).map(|it| it.0);
        let cloexec = caller::is_cloexec(asked.tid, asked.fd).filter(|_| is_there && is_like_it);
        let placed = cloexec.is_some_and(|cloexec| {
            let placed = asked
                .listener
                .put_in_place(asked.id, &kept.socket, asked.fd, cloexec);
            placed.is_ok()
        });
        let cookie = kept.cookie;
        if placed {
            self.keeps.take(position);
            self.done(asked, cookie);
            return None;
        }
        if asked.listener.is_valid(asked.id) {
            self.keeps.forget(position);
            self.explainer.hand(Job::Say(format!(
                "the kept socket of {} could not be given to the program, which gets its own; \
                 connections that waited are reset",
                asked.address.endpoint
            )));
        }
        Some(asked)
    }

    /// Closes kept sockets that stand in the way of one that asks for something else.
    fn clear_way(&mut self, asked: &Asked) -> bool {
        let closed = self.keeps.clear_way(asked.address.endpoint.port);
        if closed > 0 {
            self.explainer.hand(Job::Say(format!(
                "the program asks for {} with other options or another address than the kept \
                 socket has: it gets its own, and connections that waited for the kept one are reset",
                asked.address.endpoint
            )));
        }
        closed > 0
    }

    fn waits_for(&self, asked: &Asked) -> bool {
        !matches!(self.wishes.hold_back, HoldBack::Never)
            && self.pending.len() < MAX_WAITING
            && asked.address.endpoint.port != 0
    }

    fn hold_back(&mut self, asked: Asked) {
        let now_ns = clock::monotonic_ns();
        let pid = caller::process_of(asked.tid).unwrap_or(asked.tid);
        // A call that a signal ended begins anew, and has waited already.
        let cookie = sockopt::socket_cookie(&asked.socket).unwrap_or(0);
        let before = self.pending.iter().position(|pending| {
            pending.pid == pid
                && sockopt::socket_cookie(&pending.asked.socket) == Ok(cookie)
                && !pending.asked.listener.is_valid(pending.asked.id)
        });
        let (began_ns, name) = if let Some(at) = before {
            let before = self.pending.swap_remove(at);
            (before.began_ns, before.name)
        } else {
            self.waits += 1;
            let longest_ns = self.wishes.hold_back.longest_ns();
            self.explainer.hand(Job::WaitBegins {
                id: self.waits,
                call: Box::new(self.call(&asked, Err(EADDRINUSE))),
                until_ns: longest_ns.map(|longest_ns| now_ns.saturating_add(longest_ns)),
            });
            (now_ns, self.waits)
        };
        self.pending.push(Pending {
            asked,
            pid,
            began_ns,
            tried_ns: now_ns,
            ended_ns: None,
            name,
        });
    }

    /// Tries binds that are held back.
    fn try_pending(&mut self, now_ns: u64) {
        let longest_ns = self.wishes.hold_back.longest_ns();
        let mut at = 0;
        while let Some(pending) = self.pending.get_mut(at) {
            if now_ns < pending.tried_ns.saturating_add(TRY_EVERY_NS) {
                at += 1;
                continue;
            }
            pending.tried_ns = now_ns;
            let is_over = longest_ns
                .is_some_and(|longest| now_ns >= pending.began_ns.saturating_add(longest));
            let Asked {
                listener, id, tid, ..
            } = &pending.asked;
            if let Some(errno) = caller::interruption(*tid).filter(|_| listener.is_valid(*id)) {
                // It may begin again once the signal has been acted on.
                let _ = listener.answer(*id, errno);
            }
            let is_valid = pending.asked.listener.is_valid(pending.asked.id);
            let result = if is_valid {
                socket::bind(&pending.asked.socket, &pending.asked.address)
            } else {
                Err(libc::EINTR.unsigned_abs())
            };
            if is_valid && result == Err(EADDRINUSE) && !is_over {
                at += 1;
                continue;
            }
            if !is_valid {
                let ended_ns = *pending.ended_ns.get_or_insert(now_ns);
                if now_ns < ended_ns.saturating_add(COMES_AGAIN_NS) {
                    at += 1;
                    continue;
                }
            }
            let Pending { asked, name, .. } = self.pending.swap_remove(at);
            self.explainer.hand(Job::WaitEnds {
                id: name,
                is_bound: result.is_ok(),
            });
            match result {
                _ if !is_valid => {}
                Ok(()) => {
                    let cookie = sockopt::socket_cookie(&asked.socket).unwrap_or(0);
                    if self.keeps.is_for(asked.address.endpoint.port) {
                        let bound = Bound {
                            address: asked.address.clone(),
                            nature: Nature::of(&asked.socket),
                        };
                        self.keeps.note_bound(cookie, bound);
                    }
                    self.done(asked, cookie);
                }
                Err(errno) => self.refuse(asked, errno),
            }
        }
    }

    /// The bind has failed: it is explained first.
    fn refuse(&mut self, asked: Asked, errno: u32) {
        self.failed += 1;
        let mut call = self.call(&asked, Err(errno));
        let Asked {
            listener,
            id,
            socket,
            ..
        } = asked;
        drop(socket);
        let answer = Answer {
            listener,
            id,
            errno,
        };
        match self
            .flood
            .fate(CallKind::Bind, &call, clock::monotonic_ns())
        {
            Fate::Count => drop(answer),
            Fate::Explain { repeated } => {
                call.repeated = repeated;
                let job = Job::Call {
                    mono_ns: clock::monotonic_ns(),
                    kind: CallKind::Bind,
                    call: Box::new(call.clone()),
                    answer: Some(answer),
                };
                if !self.explainer.hand(job) {
                    self.flood.count_unexplained(CallKind::Bind, &call);
                }
            }
        }
    }

    /// A `listen` is the caller's own: who calls it is whose socket it is. It goes on, and
    /// then shows on the socket whether it has taken effect.
    fn listen(&mut self, listener: &Arc<Listener>, id: u64, tid: u32, fd: i32) {
        let Some((socket, family)) = caller::descriptor(tid, fd)
            .ok()
            .and_then(|socket| socket::tcp_family(&socket).map(|family| (socket, family)))
        else {
            listener.let_pass(id);
            return;
        };
        let now_ns = clock::monotonic_ns();
        let local = socket::local(&socket);
        let is_own = self.may_act_for(tid);
        if !listener.is_valid(id) {
            // Its thread was killed, or what was looked at is another one's.
            return;
        }
        if let Some(local) = local.filter(|local| self.keeps.is_for(local.port)) {
            let kept = is_own
                && socket
                    .try_clone()
                    .is_ok_and(|socket| self.keeps.listens(socket, now_ns));
            if !kept {
                self.explainer.hand(Job::Say(format!(
                    "the socket of {local} is not kept: its process has other rights than \
                     `tcpstate run`, or it was bound by another one"
                )));
            }
        }
        if !is_own || self.listening.len() >= MAX_LISTENING {
            drop(socket);
            listener.let_pass(id);
            return;
        }
        let requested = local.unwrap_or(Endpoint {
            addr: family.address([0; 16]),
            port: 0,
        });
        let mut call = self.plain_call(tid, &socket, family, requested, Ok(()));
        call.local = local;
        if self.explainer.is_recording {
            call.process = Arc::new(name(tid));
        }
        listener.let_pass(id);
        self.listening.push(Listening {
            socket,
            tid,
            since_ns: now_ns,
            call: Box::new(call),
        });
    }

    /// Sees which calls of `listen` have taken effect. `at_once`: their sockets are needed.
    fn look_after_listening(&mut self, at_once: bool) {
        let now_ns = clock::monotonic_ns();
        let mut at = 0;
        while let Some(listening) = self.listening.get(at) {
            // In this order: what has returned has taken effect.
            let is_over = listening.is_over(now_ns);
            let is_listening = socket::is_listening(&listening.socket);
            if !is_listening && !is_over && !at_once {
                at += 1;
                continue;
            }
            let is_bound = socket::local(&listening.socket).is_some();
            let Listening { mut call, .. } = self.listening.swap_remove(at);
            if is_listening {
                if self.explainer.is_recording {
                    self.explainer.hand(Job::Call {
                        mono_ns: now_ns,
                        kind: CallKind::Listen,
                        call,
                        answer: None,
                    });
                }
            } else if is_over && is_bound {
                self.failed += 1;
                call.ok = false;
                call.errno = Some(EADDRINUSE);
                call.errno_name = Some(errno_name(EADDRINUSE));
                if let Fate::Explain { repeated } = self.flood.fate(CallKind::Listen, &call, now_ns)
                {
                    call.repeated = repeated;
                    self.explainer.hand(Job::Call {
                        mono_ns: now_ns,
                        kind: CallKind::Listen,
                        call,
                        answer: None,
                    });
                }
            }
        }
    }

    /// What is to be done from time to time; gives how long nothing else is.
    pub(in crate::commands) fn advance(&mut self, is_running: bool) -> Duration {
        let now_ns = clock::monotonic_ns();
        self.look_after_listening(false);
        self.try_pending(now_ns);
        for address in self.keeps.check(now_ns, is_running) {
            self.explainer.hand(Job::Say(format!(
                "nobody accepts connections on {address} any more: the kept socket is closed, and \
                 clients are refused"
            )));
        }
        self.flood.report(now_ns, &self.explainer);
        if !self.listening.is_empty() {
            Duration::from_millis(1)
        } else if !self.pending.is_empty() {
            Duration::from_nanos(TRY_EVERY_NS)
        } else if !self.keeps.is_empty() {
            Duration::from_millis(50)
        } else {
            Duration::from_secs(1)
        }
    }

    /// Says and writes what is left.
    pub(in crate::commands) fn finish(mut self) {
        self.look_after_listening(true);
        for pending in std::mem::take(&mut self.pending) {
            let _ = pending.asked.listener.answer(pending.asked.id, EADDRINUSE);
        }
        self.flood.report(u64::MAX, &self.explainer);
        self.explainer.finish();
    }

    fn call(&self, asked: &Asked, outcome: Result<(), u32>) -> Call {
        self.plain_call(
            asked.tid,
            &asked.socket,
            asked.family,
            asked.address.endpoint,
            outcome,
        )
    }

    fn plain_call(
        &self,
        tid: u32,
        socket: &OwnedFd,
        family: Family,
        asked: Endpoint,
        outcome: Result<(), u32>,
    ) -> Call {
        let errno = outcome.err();
        let pid = caller::process_of(tid).unwrap_or(tid);
        let mut process = Process::new(pid, 0, "?", KnownBy::Syscall);
        process.tid = Some(tid);
        Call {
            ok: errno.is_none(),
            errno,
            errno_name: errno.map(errno_name),
            requested: Requested {
                addr: Some(asked.addr),
                port: asked.port,
            },
            local: None,
            peer: None,
            sock: Some(socket::identity(socket, family, self.netns)),
            reuse: socket::reuse(socket, family),
            bound_dev_if: socket::device(socket),
            uid: socket::file(socket).map(|(_, uid)| uid),
            process: Arc::new(process),
            via: Via::Syscall,
            unprivileged_port_start: None,
            netns_name: None,
            rtnetlink_inode: None,
            rights: None,
            ipv6: None,
            ephemeral: None,
            sysctls: None,
            seen: None,
            repeated: 0,
            is_sum: false,
        }
    }
}

/// Who it is, where it is asked at once.
fn name(tid: u32) -> Process {
    let pid = caller::process_of(tid).unwrap_or(tid);
    explainer::process(pid, tid)
}
