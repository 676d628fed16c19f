//! The running kernel as a source of events: resolves its layout, loads the
//! kernel program, takes records out of its ring buffer. Knows nothing of what
//! the events mean.
//!
//! Nothing is pinned: when an [`Observer`] is dropped, the kernel removes every
//! hook.

mod attach;
mod btf;
pub mod capabilities;
mod decode;
mod diagnostics;
mod errno;
mod error;
mod feature;
mod flood;
mod functions;
mod hook;
mod iter_tcp;
mod load;
mod object;
mod offsets;
mod port;
mod preflight;
mod requirements;
mod reset_filter;
mod reuseaddr;
mod ring;
mod settings;
mod tracefs;
mod types;

use std::ops::RangeInclusive;
use std::os::fd::{AsFd as _, AsRawFd as _, RawFd};

use aya::{
    Ebpf,
    maps::{HashMap, MapData},
    programs::Iter,
};
use tcpstate_common::config::ListenerKey;

pub use btf::BtfError;
pub use capabilities::{Capability, capabilities};
pub use decode::{DecodeError, Decoder};
pub(crate) use errno::name as errno_name;
pub use error::KernelError;
pub use iter_tcp::IterError;
pub(crate) use iter_tcp::Walk;
pub use port::PortReader;
pub use reuseaddr::Reuseaddr;
pub use ring::Counters;

use crate::clock;
use crate::event::{Body, Capture, Probe};
use crate::snapshot::open_sockets::Descriptors;
use crate::snapshot::{SocketItem, cgroup};

/// What to observe; empty: everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Ports, local or peer.
    pub ports: Vec<RangeInclusive<u16>>,
    /// Inode number of the network namespace.
    pub netns: Option<u32>,
    /// Process ids in the initial pid namespace, 16 at most.
    pub pids: Vec<u32>,
    /// Report connects that succeeded, too.
    pub report_connects: bool,
    /// Let the kernel program say what it could not do; see
    /// [`Observer::take_diagnostics`].
    pub verbose: bool,
    /// Only function hooks or only tracepoints; `None`: what the kernel allows.
    pub capture: Option<Capture>,
    /// Hook nothing but `bind` and `listen`.
    pub binds_only: bool,
}

/// A failed call waits so long for records that were being written when it was: one that
/// is reserved and not filled hides what stands behind it.
const REORDER_WINDOW_NS: u64 = 50_000;

/// The next of each ring buffer, taken out to compare their times.
#[derive(Debug, Default)]
struct Lookahead {
    /// With whether it is an RST that answers a packet.
    event: Option<(u64, Body, bool)>,
    failed: Option<(u64, Body)>,
}

/// What was taken next.
enum Taken {
    Event,
    Failed,
    Nothing,
}

/// The kernel program, loaded and attached.
pub struct Observer {
    ebpf: Ebpf,
    ring: ring::Ring,
    watched: HashMap<MapData, u64, u32>,
    listeners: HashMap<MapData, ListenerKey, u64>,
    floods: flood::Floods,
    lookahead: Lookahead,
    decoder: Decoder,
    reset_filter: reset_filter::ResetFilter,
    probes: Vec<Probe>,
    capture: Capture,
    undecodable: u64,
    diagnostics: Option<diagnostics::Diagnostics>,
}

impl Observer {
    /// Loads and attaches. Events are collected from here on, also before the
    /// first [`drain`](Self::drain).
    pub fn start(options: &Options) -> Result<Self, KernelError> {
        preflight::check()?;
        let mut loaded = load::load(options)?;
        let ring = ring::Ring::open(&mut loaded.ebpf)?;
        let floods = flood::Floods::open(&mut loaded.ebpf)?;
        let watched = ring::map(&mut loaded.ebpf, "WATCHED")?;
        let listeners = ring::map(&mut loaded.ebpf, "LISTENERS")?;
        let decoder = loaded.decoder.with_cgroups(cgroup::Hierarchy::open());
        trim_heap();
        let diagnostics = if options.verbose {
            diagnostics::Diagnostics::open(&mut loaded.ebpf)
        } else {
            None
        };
        Ok(Self {
            ebpf: loaded.ebpf,
            ring,
            watched,
            listeners,
            floods,
            lookahead: Lookahead::default(),
            decoder,
            reset_filter: reset_filter::ResetFilter::default(),
            probes: loaded.probes,
            capture: loaded.capture,
            undecodable: 0,
            diagnostics,
        })
    }

    /// The hooks, and which of them are on.
    #[must_use]
    pub fn probes(&self) -> &[Probe] {
        &self.probes
    }

    /// Whether functions of the kernel are hooked.
    #[must_use]
    pub fn capture(&self) -> Capture {
        self.capture
    }

    /// Returns when an urgent event (a failed call) is there. All others wake
    /// nobody, which keeps the observed programs fast: call
    /// [`drain`](Self::drain) at least every 100 ms besides.
    pub async fn ready(&mut self) -> Result<(), KernelError> {
        self.ring.ready().await
    }

    /// Appends at most `max` events with their `CLOCK_MONOTONIC` nanoseconds;
    /// returns how many records were taken. Less than `max`: that was all. What
    /// comes after a reset that is not certain to be one is held back for some
    /// milliseconds.
    ///
    /// Failed calls come through a ring buffer of their own. Each is handed out behind
    /// all other events that are not later than itself, and before those that are: what
    /// a program did before its call failed is known when the failure is.
    pub fn drain(&mut self, max: usize, events: &mut Vec<(u64, Body)>) -> usize {
        for taken in 0..max {
            if matches!(self.take_next(events), Taken::Nothing) {
                self.reset_filter.release(clock::monotonic_ns(), events);
                return taken;
            }
        }
        max
    }

    /// The same, but a failed call is the last of its batch: explaining one takes long,
    /// and others want their turn. `false`: that was all.
    pub(crate) fn drain_to_failure(&mut self, max: usize, events: &mut Vec<(u64, Body)>) -> bool {
        for _ in 0..max {
            match self.take_next(events) {
                Taken::Event => {}
                Taken::Failed => return true,
                Taken::Nothing => {
                    self.reset_filter.release(clock::monotonic_ns(), events);
                    return false;
                }
            }
        }
        true
    }

    /// Whether a failed call waits to be handed out.
    pub(crate) fn has_failed_waiting(&mut self) -> bool {
        self.peek_failed();
        self.lookahead.failed.is_some()
    }

    fn take_next(&mut self, events: &mut Vec<(u64, Body)>) -> Taken {
        self.peek_failed();
        let Some(failed_ns) = self.lookahead.failed.as_ref().map(|(mono_ns, _)| *mono_ns) else {
            self.peek_event();
            return self.deliver_event(events);
        };
        loop {
            self.peek_event();
            match &self.lookahead.event {
                Some((mono_ns, ..)) if *mono_ns <= failed_ns => return self.deliver_event(events),
                Some(_) => break,
                None if clock::monotonic_ns() >= failed_ns.saturating_add(REORDER_WINDOW_NS) => {
                    break;
                }
                None => std::hint::spin_loop(),
            }
        }
        if let Some((mono_ns, body)) = self.lookahead.failed.take() {
            self.reset_filter.push(mono_ns, body, false, events);
        }
        Taken::Failed
    }

    fn deliver_event(&mut self, events: &mut Vec<(u64, Body)>) -> Taken {
        match self.lookahead.event.take() {
            Some((mono_ns, body, is_answer)) => {
                self.reset_filter.push(mono_ns, body, is_answer, events);
                Taken::Event
            }
            None => Taken::Nothing,
        }
    }

    fn peek_event(&mut self) {
        let decoder = &self.decoder;
        while self.lookahead.event.is_none() {
            let event = self.ring.next(|bytes| {
                let (mono_ns, body) = decoder.event(bytes).ok()?;
                Some((mono_ns, body, decode::is_answer(bytes)))
            });
            match event {
                None => return,
                Some(None) => self.undecodable += 1,
                Some(event) => self.lookahead.event = event,
            }
        }
    }

    fn peek_failed(&mut self) {
        let (decoder, floods) = (&self.decoder, &mut self.floods);
        while self.lookahead.failed.is_none() {
            let failed = self.ring.next_failed(|bytes| {
                let (mono_ns, mut body) = decoder.event(bytes).ok()?;
                let repeated =
                    decode::calls::count(bytes).map_or(Some(0), |count| floods.repeated(count));
                if let Body::Bind(call) | Body::Listen(call) | Body::Connect(call) = &mut body {
                    call.repeated = repeated.unwrap_or(0);
                }
                Some((mono_ns, body, repeated.is_some()))
            });
            match failed {
                None => return,
                Some(None) => self.undecodable += 1,
                // Its count was reported with another one.
                Some(Some((_, _, false))) => {}
                Some(Some((mono_ns, body, true))) => self.lookahead.failed = Some((mono_ns, body)),
            }
        }
    }

    /// Appends what was counted of failed calls and has come to rest, at the end of a run
    /// all of it. To be asked once a second, when [`drain`](Self::drain) has nothing more.
    pub fn take_counted(&mut self, now_ns: u64, is_end: bool, to: &mut Vec<Body>) {
        self.floods.take(now_ns, is_end, &self.decoder, to);
    }

    /// Records that were written and not taken out; for the end of a run. Of failed calls
    /// those are not among them whose kind is counted.
    pub fn left(&self) -> Result<u64, KernelError> {
        let Counters {
            written,
            written_failed,
            ..
        } = self.counters()?;
        let read = self.ring.read() - self.ring.read_failed();
        Ok((written - written_failed.min(written)).saturating_sub(read))
    }

    /// Appends what is still held back: at the end of a run nothing follows.
    pub fn release(&mut self, events: &mut Vec<(u64, Body)>) {
        self.reset_filter.release(u64::MAX, events);
    }

    /// What the kernel program said since the last call; nothing without
    /// [`Options::verbose`].
    pub fn take_diagnostics(&mut self) -> Vec<String> {
        self.diagnostics
            .as_mut()
            .map_or_else(Vec::new, diagnostics::Diagnostics::take)
    }

    /// Events that did not come through: no room, memory that could not be
    /// read, a call whose entry was forgotten, a record that makes no sense,
    /// and those for which the kernel itself says that it did not run a program,
    /// because the program was interrupted by its own hook.
    pub fn lost(&self) -> Result<u64, KernelError> {
        let Counters {
            dropped,
            written: _,
            calls_forgotten,
            read_failed,
            made_up_for,
            counted: _,
            written_failed: _,
        } = self.counters()?;
        let lost = dropped + calls_forgotten + read_failed + self.missed() + self.undecodable;
        Ok(lost.saturating_sub(made_up_for))
    }

    /// Runs that the kernel left out. Those of a hook that runs after another one
    /// lose nothing by themselves: where that one was left out as well, it counts.
    fn missed(&self) -> u64 {
        self.ebpf
            .programs()
            .filter(|(name, _)| !hook::is_trailing(name))
            .filter_map(|(_, program)| program.fd().ok())
            .map(|fd| recursion_misses(fd.as_fd().as_raw_fd()))
            .sum()
    }

    /// The books of the ring buffer, as a JSON object: once nothing more is
    /// written, `written` equals `read`, and what is missing is in the others.
    pub fn ledger(&self) -> Result<String, KernelError> {
        let Counters {
            dropped,
            written,
            calls_forgotten,
            read_failed,
            made_up_for,
            counted,
            written_failed: _,
        } = self.counters()?;
        let (read, missed, undecodable) = (self.ring.read(), self.missed(), self.undecodable);
        Ok(format!(
            "{{\"written\":{written},\"read\":{read},\"dropped\":{dropped},\
             \"calls_forgotten\":{calls_forgotten},\"read_failed\":{read_failed},\
             \"missed\":{missed},\"undecodable\":{undecodable},\
             \"made_up_for\":{made_up_for},\"counted\":{counted}}}"
        ))
    }

    /// What the kernel program counted.
    pub fn counters(&self) -> Result<Counters, KernelError> {
        self.ring.counters()
    }

    /// Records that could not be understood; not 0 is a bug.
    #[must_use]
    pub fn undecodable(&self) -> u64 {
        self.undecodable
    }

    /// Lets the events of a socket through [`Options::pids`]: for sockets that
    /// a watched process had before the observer was started.
    pub fn watch(&mut self, cookie: u64) -> Result<(), KernelError> {
        self.watched
            .insert(cookie, 1, 0)
            .map_err(|source| KernelError::Map {
                name: "WATCHED",
                source: Box::new(source),
            })
    }

    /// Notes a process that listened on a port before the observer was started:
    /// the connections that it accepts itself are no news.
    pub fn note_listener(&mut self, pid: u32, netns: u32, port: u16) -> Result<(), KernelError> {
        let key = ListenerKey {
            tgid: pid,
            netns,
            port: u32::from(port),
        };
        self.listeners
            .insert(key, 0, 0)
            .map_err(|source| KernelError::Map {
                name: "LISTENERS",
                source: Box::new(source),
            })
    }

    /// Every socket of the calling thread's namespace that passes the ports of
    /// the options, each with the time at which it was read. Where the
    /// iterator is refused, [`sock_diag`](crate::snapshot::sock_diag) is the
    /// fallback.
    pub fn snapshot(&mut self) -> Result<Vec<(u64, SocketItem)>, IterError> {
        let decoder = &self.decoder;
        iter_tcp::read(iterator(&mut self.ebpf, "iter_tcp")?, decoder)
    }

    /// Begins the same list, to be read bit by bit.
    pub(crate) fn begin_walk(&mut self) -> Result<Walk, IterError> {
        Walk::begin(iterator(&mut self.ebpf, "iter_tcp")?)
    }

    /// Begins a pass over the descriptors of all processes of the calling thread's pid
    /// namespace.
    pub(crate) fn begin_descriptors(&mut self) -> Result<Descriptors, IterError> {
        iter_tcp::begin(iterator(&mut self.ebpf, "iter_task_file")?).map(Descriptors::of)
    }

    /// Hands out the next few hundred sockets of a list. `false`: that was all.
    pub(crate) fn go_on(
        &self,
        walk: &mut Walk,
        take: impl FnMut(u64, SocketItem),
    ) -> Result<bool, IterError> {
        walk.read(&self.decoder, take)
    }
}

/// What is given up without the hook or the feature that is listed under this name.
#[must_use]
pub fn lack(name: &str) -> Option<&'static str> {
    hook::lack(name).or_else(|| feature::lack(name))
}

fn iterator<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Iter, IterError> {
    ebpf.program_mut(name)
        .ok_or_else(|| IterError::Start("the object has no iterator".to_owned()))?
        .try_into()
        .map_err(|error: aya::programs::ProgramError| IterError::Start(error.to_string()))
}

/// Reading the kernel's types takes 40 MB for an instant, which the allocator would
/// keep for the whole run.
#[expect(unsafe_code, reason = "glibc's own call has no safe wrapper")]
fn trim_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes a number and returns unused memory to the system.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Times that the kernel did not run a program because the program was already
/// running on that processor (`recursion_misses`, since Linux 5.12).
fn recursion_misses(program: RawFd) -> u64 {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{program}")).unwrap_or_default();
    info.lines()
        .find_map(|line| line.strip_prefix("recursion_misses:")?.trim().parse().ok())
        .unwrap_or(0)
}
