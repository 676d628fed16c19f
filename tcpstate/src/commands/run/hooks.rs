//! What the kernel's hooks report of calls that go on as they are: the error that the kernel
//! gave, and what it found on the port.
//!
//! Hooks take a tenth of a second to be on and privileges that only root has. Nobody waits for
//! them: a thread of its own sees to them, and where they report nothing, what a call has come
//! to is inferred. They report the calls of the whole host; what is kept of them is asked for
//! by the socket of a call that was put before us, so that nobody else's is taken for it.
//!
//! While they are on every system call of the host is slower. So they are on only when calls
//! are likely to go on: after a start, and after one that did.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::process::{getpriority_process, setpriority_process};
use tokio::sync::watch::{self, Receiver, Sender};
use tokio::time::{MissedTickBehavior, interval};

use crate::clock;
use crate::commands::watch::runtime;
use crate::diagnosis::CallKind;
use crate::event::{Body, Call};
use crate::kernel::{Observer, Options};

/// Failed calls that are kept. Beyond, the oldest are forgotten.
const MAX_FAILED: usize = 256;
/// Records that are taken in one go.
const TAKE: usize = 256;
/// The hooks wake us for a failed call; what else they report is cleared away as often.
const CLEAR_EVERY: Duration = Duration::from_secs(1);
/// So long after the last reason for them the hooks are taken off.
const WANTED_FOR_NS: u64 = 30_000_000_000;

/// The hooks, seen from the thread that takes calls. They are off soon after this is dropped.
#[derive(Debug)]
pub(super) struct Hooks {
    reported: Arc<Mutex<Reported>>,
    /// Until when they are wanted.
    until_ns: Sender<u64>,
}

/// What the thread has reported.
#[derive(Debug, Default)]
struct Reported {
    /// Since when every failed call is, where the hooks are on.
    on_ns: Option<u64>,
    failed: VecDeque<(u64, CallKind, Call)>,
    /// What has become of the hooks, for who wants to know.
    status: Option<String>,
}

impl Hooks {
    /// Begins to attach them.
    pub(super) fn start() -> Result<Self> {
        let reported = Arc::new(Mutex::new(Reported::default()));
        let (until_ns, wanted) = watch::channel(0);
        let to = Arc::clone(&reported);
        thread::Builder::new()
            .name("hooks".to_owned())
            .spawn(move || {
                if let Err(error) = observe(&to, wanted) {
                    let mut reported = lock(&to);
                    reported.on_ns = None;
                    reported.status = Some(format!("no hooks: {error:#}"));
                }
            })
            .context("cannot start a thread")?;
        let hooks = Self { reported, until_ns };
        hooks.want();
        Ok(hooks)
    }

    /// Calls are likely to go on from now on.
    pub(super) fn want(&self) {
        let until_ns = clock::monotonic_ns().saturating_add(WANTED_FOR_NS);
        self.until_ns.send_replace(until_ns);
    }

    /// Whether they were on at that time, and are.
    pub(super) fn saw(&self, mono_ns: u64) -> bool {
        lock(&self.reported)
            .on_ns
            .is_some_and(|on_ns| on_ns <= mono_ns)
    }

    /// What they have reported of a failed call that was made at `since_ns`: the first from then on
    /// that was about the same socket and port.
    pub(super) fn take(&self, kind: CallKind, failed: &Call, since_ns: u64) -> Option<Call> {
        let cookie = cookie(failed)?;
        let mut reported = lock(&self.reported);
        let at = reported.failed.iter().position(|(mono_ns, of, call)| {
            *of == kind
                && *mono_ns >= since_ns
                && self::cookie(call) == Some(cookie)
                && call.requested.port == failed.requested.port
        })?;
        reported.failed.remove(at).map(|(_, _, call)| call)
    }

    /// What has become of them since the last time.
    pub(super) fn take_status(&self) -> Option<String> {
        lock(&self.reported).status.take()
    }
}

/// What names its socket.
fn cookie(call: &Call) -> Option<u64> {
    call.sock?.known_cookie()
}

fn lock(reported: &Mutex<Reported>) -> MutexGuard<'_, Reported> {
    reported.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has them on as long as they are wanted, again and again. It ends with the process, too,
/// whatever it does just then: the kernel takes the hooks off.
fn observe(reported: &Mutex<Reported>, mut wanted: Receiver<u64>) -> Result<()> {
    runtime()?.block_on(async {
        // Nobody wants them ever again where that fails.
        while wanted.changed().await.is_ok() {
            let began_ns = clock::monotonic_ns();
            let observer = attach()?;
            let on_ns = clock::monotonic_ns();
            {
                let mut reported = lock(reported);
                reported.on_ns = Some(on_ns);
                let took_ms = on_ns.saturating_sub(began_ns) / 1_000_000;
                reported.status = Some(format!("hooks on after {took_ms} ms"));
            }
            keep_while_wanted(observer, reported, &mut wanted).await?;
        }
        Ok(())
    })
}

fn attach() -> Result<Observer> {
    Ok(behind_others(|| {
        Observer::start(&Options {
            binds_only: true,
            ..Options::default()
        })
    })?)
}

/// Keeps what they report, as long as they are wanted.
async fn keep_while_wanted(
    mut observer: Observer,
    reported: &Mutex<Reported>,
    wanted: &mut Receiver<u64>,
) -> Result<()> {
    let mut facts = Vec::new();
    let mut counted = Vec::new();
    let mut time = interval(CLEAR_EVERY);
    time.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        let is_time = tokio::select! {
            changed = wanted.changed() => match changed {
                Ok(()) => false,
                Err(_) => return Ok(()),
            },
            ready = observer.ready() => {
                ready?;
                false
            }
            _ = time.tick() => true,
        };
        while observer.drain(TAKE, &mut facts) == TAKE {
            keep(reported, &mut facts);
        }
        keep(reported, &mut facts);
        if !is_time {
            continue;
        }
        let now_ns = clock::monotonic_ns();
        // We count ourselves, and the kernel program has room for so many counts.
        observer.take_counted(now_ns, false, &mut counted);
        counted.clear();
        if now_ns >= *wanted.borrow() {
            let mut reported = lock(reported);
            reported.on_ns = None;
            reported.status =
                Some("hooks off: no call has gone on as it is for a while".to_owned());
            return Ok(());
        }
    }
}

/// Does it, in this thread and those that it starts, only where nobody else wants a processor:
/// the program is starting just now.
fn behind_others<T>(act: impl FnOnce() -> T) -> T {
    const LAST: i32 = 19;
    let before = getpriority_process(None);
    let _ = setpriority_process(None, LAST);
    let done = act();
    if let Ok(before) = before {
        // Without CAP_SYS_NICE it stays behind.
        let _ = setpriority_process(None, before);
    }
    done
}

fn keep(reported: &Mutex<Reported>, facts: &mut Vec<(u64, Body)>) {
    let mut reported = lock(reported);
    for (mono_ns, body) in facts.drain(..) {
        let (kind, call) = match body {
            Body::Bind(call) => (CallKind::Bind, call),
            Body::Listen(call) => (CallKind::Listen, call),
            _ => continue,
        };
        if call.ok {
            continue;
        }
        if reported.failed.len() >= MAX_FAILED {
            reported.failed.pop_front();
        }
        reported.failed.push_back((mono_ns, kind, *call));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(cookie: u64) -> Call {
        failed_at(cookie, 8080)
    }

    fn failed_at(cookie: u64, port: u16) -> Call {
        let call = serde_json::json!({
            "ok": false,
            "errno": 98,
            "requested": {"addr": "127.0.0.1", "port": port},
            "sock": {"cookie": cookie, "netns": 1, "family": "ipv4"},
            "reuse": {"reuseaddr": false, "reuseport": false, "v6only": false},
            "process": {"pid": 7, "uid": 0, "comm": "server", "via": "syscall"},
            "via": "syscall",
        });
        serde_json::from_value(call).unwrap()
    }

    fn with(calls: Vec<(u64, Call)>) -> Hooks {
        let reported = Arc::default();
        let bind = |(mono_ns, call)| (mono_ns, Body::Bind(Box::new(call)));
        let mut facts = calls.into_iter().map(bind).collect();
        keep(&reported, &mut facts);
        Hooks {
            reported,
            until_ns: watch::channel(0).0,
        }
    }

    #[test]
    fn a_call_is_that_of_its_socket_since_it_was_made_and_is_given_out_once() {
        let hooks = with(vec![(10, failed(5)), (30, failed(5))]);
        let has = |kind, call, since_ns| hooks.take(kind, &call, since_ns).is_some();

        assert!(!has(CallKind::Bind, failed(6), 0));
        assert!(!has(CallKind::Bind, failed_at(5, 81), 0));
        assert!(!has(CallKind::Listen, failed(5), 0));
        assert!(!has(CallKind::Bind, failed(5), 31));
        assert!(has(CallKind::Bind, failed(5), 20));
        assert!(!has(CallKind::Bind, failed(5), 20));
    }

    #[test]
    fn the_oldest_are_forgotten_and_what_has_no_cookie_is_nobodys() {
        let many = (1..=MAX_FAILED as u64 + 1).map(|cookie| (cookie, failed(cookie)));
        let hooks = with(many.collect());

        assert!(hooks.take(CallKind::Bind, &failed(1), 0).is_none());
        assert!(hooks.take(CallKind::Bind, &failed(2), 0).is_some());
        let unowned = with(vec![(1, failed(0))]);
        assert!(unowned.take(CallKind::Bind, &failed(0), 0).is_none());
    }
}
