//! Text of a stream of events, in which the same failure again is counted instead of reported:
//! retries of a program at one port, and a walk of one over many ports. JSON has each.

mod walk;

use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use super::describe::{self, Context};
use super::text::{put, write_event};
use crate::event::{Body, Call, Event, State};

pub use walk::Walk;

/// What is counted is reported this often. 10 s.
const REPORT_EVERY_NS: u64 = 10_000_000_000;
/// Failures that are known again; the oldest is forgotten.
const MAX_KNOWN: usize = 64;

/// Writes events as text, and counts what is reported already.
#[derive(Debug, Default)]
pub struct Folding {
    retries: Vec<Retry>,
    walks: Vec<CountedWalk>,
    /// Calls whose diagnosis is not reported either.
    folded: VecDeque<u64>,
}

/// A call that failed, and that is made again and again.
#[derive(Debug)]
struct Retry {
    key: CallKey,
    /// What stood in the way.
    holders: Vec<(u64, State, Vec<u32>)>,
    count: RepeatCount,
}

/// What a retry has in common with what it repeats.
#[derive(Clone, Debug, PartialEq, Eq)]
struct CallKey {
    name: &'static str,
    netns: u32,
    requested: Option<IpAddr>,
    port: u16,
    errno: Option<u32>,
    uid: u32,
    comm: Arc<str>,
}

/// What makes one failed call like another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Likeness {
    key: CallKey,
    holders: Vec<(u64, State, Vec<u32>)>,
}

impl Likeness {
    /// `None`: it is no failed call.
    #[must_use]
    pub fn of(event: &Event) -> Option<Self> {
        match &event.body {
            Body::Bind(call) | Body::Listen(call) | Body::Connect(call) if !call.ok => Some(Self {
                key: CallKey::of(&event.body, call),
                holders: holders(call),
            }),
            _ => None,
        }
    }
}

/// One process that tries one port after the other.
#[derive(Debug)]
struct CountedWalk {
    walk: Walk,
    unreported: BTreeSet<u16>,
    count: RepeatCount,
}

/// Of what was not reported.
#[derive(Debug, Default)]
struct RepeatCount {
    /// In all, those that were reported among them.
    total: u64,
    unreported: u64,
    reported_ns: u64,
    /// The latest one: when it was, and how it reads.
    last_ns: u64,
    last: String,
}

impl Folding {
    /// Appends an event as text, or counts it; and what was counted long enough.
    pub fn write_event(&mut self, event: &Event, context: &Context<'_>, out: &mut String) {
        match &event.body {
            Body::Bind(call) | Body::Listen(call) | Body::Connect(call) if !call.ok => {
                if self.takes(event, call, context) {
                    if self.folded.len() == MAX_KNOWN {
                        self.folded.pop_front();
                    }
                    self.folded.push_back(event.seq);
                    self.report(event.mono_ns, REPORT_EVERY_NS, context, out);
                    return;
                }
            }
            Body::Diagnosis(diagnosis) if self.folded.contains(&diagnosis.of) => return,
            Body::Restart(_) | Body::Fallback(_) | Body::Footer(_) => {
                self.report(event.mono_ns, 0, context, out);
            }
            Body::Bind(_) | Body::Listen(_) => self.report(event.mono_ns, 0, context, out),
            _ => self.report(event.mono_ns, REPORT_EVERY_NS, context, out),
        }
        write_event(event, context, out);
    }

    /// Appends what was counted and not reported for so long.
    fn report(&mut self, now_ns: u64, every_ns: u64, context: &Context<'_>, out: &mut String) {
        for retry in &mut self.retries {
            let RepeatCount {
                unreported, total, ..
            } = retry.count;
            let times = match unreported {
                1 => "once".to_owned(),
                unreported => format!("{unreported} times"),
            };
            let more = format!("  {times} more, {total} in all, for the same reason");
            retry.count.report(now_ns, every_ns, &more, context, out);
        }
        for walk in &mut self.walks {
            let RepeatCount { unreported, .. } = walk.count;
            let more = match (
                walk.unreported.len(),
                walk.unreported.first(),
                walk.unreported.last(),
            ) {
                (1, Some(port), _) => format!("  and on port {port} likewise"),
                (ports, Some(first), Some(last)) => format!(
                    "  and likewise on {ports} more ports, {first} to {last}: {unreported} calls"
                ),
                _ => String::new(),
            };
            if walk.count.report(now_ns, every_ns, &more, context, out) {
                walk.walk.reported.append(&mut walk.unreported);
            }
        }
    }

    /// Whether it is only counted.
    fn takes(&mut self, event: &Event, call: &Call, context: &Context<'_>) -> bool {
        let key = CallKey::of(&event.body, call);
        let holders = holders(call);
        let known = self.retries.iter_mut().find(|retry| retry.key == key);
        if let Some(retry) = known {
            // What was only counted in the kernel comes without what stood in the way.
            let is_same = call.is_sum || retry.holders == holders;
            retry.count.total = retry.count.total.saturating_add(call.failures());
            retry.holders = if call.is_sum {
                std::mem::take(&mut retry.holders)
            } else {
                holders
            };
            if is_same {
                retry.count.add(event, call, context);
            } else {
                retry.count.reported_ns = event.mono_ns;
            }
            return is_same;
        }
        if self.walks_on(event, call, context) {
            return true;
        }
        if self.retries.len() == MAX_KNOWN {
            self.retries.remove(0);
        }
        self.retries.push(Retry {
            key,
            holders,
            count: RepeatCount {
                total: call.failures(),
                reported_ns: event.mono_ns,
                ..RepeatCount::default()
            },
        });
        false
    }

    /// Whether the process that made it tries one port after the other.
    fn walks_on(&mut self, event: &Event, call: &Call, context: &Context<'_>) -> bool {
        let walk = self
            .walks
            .iter_mut()
            .find(|walk| walk.walk.is_like(event, call));
        let Some(CountedWalk {
            walk,
            unreported,
            count,
        }) = walk
        else {
            if self.walks.len() == MAX_KNOWN {
                self.walks.remove(0);
            }
            self.walks.push(CountedWalk {
                walk: Walk::from(event, call),
                unreported: BTreeSet::new(),
                count: RepeatCount {
                    reported_ns: event.mono_ns,
                    last_ns: event.mono_ns,
                    ..RepeatCount::default()
                },
            });
            return false;
        };
        if !walk.folds(event, call, !unreported.is_empty()) {
            (count.last_ns, count.reported_ns) = (event.mono_ns, event.mono_ns);
            return false;
        }
        unreported.insert(call.requested.port);
        count.add(event, call, context);
        true
    }
}

impl CallKey {
    fn of(body: &Body, call: &Call) -> Self {
        Self {
            name: body.name(),
            netns: call.sock.map_or(0, |sock| sock.netns),
            requested: call.requested.addr,
            port: call.requested.port,
            errno: call.errno,
            uid: call.process.uid,
            comm: Arc::clone(&call.process.comm),
        }
    }
}

impl RepeatCount {
    fn add(&mut self, event: &Event, call: &Call, context: &Context<'_>) {
        if self.unreported == 0 {
            self.reported_ns = self.reported_ns.max(self.last_ns);
        }
        self.unreported = self.unreported.saturating_add(call.failures());
        self.last_ns = event.mono_ns;
        // Like one that nobody counted.
        let plain = Box::new(Call {
            repeated: 0,
            is_sum: false,
            seen: None,
            ..call.clone()
        });
        let body = match &event.body {
            Body::Listen(_) => Body::Listen(plain),
            Body::Connect(_) => Body::Connect(plain),
            _ => Body::Bind(plain),
        };
        let like = Event {
            seq: event.seq,
            mono_ns: event.mono_ns,
            body,
        };
        self.last = describe::text(&like, context).unwrap_or_default();
        if let Some(netns) = context.netns(&like.body) {
            self.last.push_str("  ");
            self.last.push_str(&netns);
        }
    }

    /// Whether it was reported.
    fn report(
        &mut self,
        now_ns: u64,
        every_ns: u64,
        more: &str,
        context: &Context<'_>,
        out: &mut String,
    ) -> bool {
        if self.unreported == 0 || now_ns < self.reported_ns.saturating_add(every_ns) {
            return false;
        }
        put(&format!("{}{more}", self.last), self.last_ns, context, out);
        self.unreported = 0;
        self.reported_ns = now_ns;
        true
    }
}

/// What stood in the way, as far as it makes one failure like another.
fn holders(call: &Call) -> Vec<(u64, State, Vec<u32>)> {
    let seen = call.seen.iter().flat_map(|seen| &seen.holders);
    let mut holders: Vec<(u64, State, Vec<u32>)> = seen
        .map(|holder| {
            let processes = holder.processes.iter().flatten();
            (
                holder.sock.cookie,
                holder.state,
                processes.map(|process| process.pid).collect(),
            )
        })
        .collect();
    holders.sort_unstable();
    holders
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::test_support::{Fixture, PLAIN, holder, process};
    use crate::event::{ClockAnchor, Tick};

    /// Events of one run, as text.
    #[derive(Default)]
    struct Stream {
        folding: Folding,
        seq: u64,
        text: String,
    }

    impl Stream {
        fn event(&mut self, mono_ns: u64, body: Body) {
            let event = Event {
                seq: self.seq,
                mono_ns,
                body,
            };
            self.seq += 1;
            let context = Context {
                clock: ClockAnchor {
                    mono_ns: 0,
                    realtime: 0,
                },
                is_one_netns: true,
                ..Context::default()
            };
            self.folding.write_event(&event, &context, &mut self.text);
        }

        /// A call that fails, and its diagnosis.
        fn fails(&mut self, at_s: u64, fixture: &Fixture) {
            let mut diagnosis = fixture.diagnose();
            diagnosis.of = self.seq;
            let at_ns = at_s * 1_000_000_000;
            self.event(at_ns, Body::Bind(Box::new(fixture.call.clone())));
            self.event(at_ns, Body::Diagnosis(Box::new(diagnosis)));
        }

        fn count(&self, text: &str) -> usize {
            self.text.matches(text).count()
        }
    }

    fn fixture(port: u16, cookie: u64) -> Fixture {
        let mut listener = holder(State::Listen, "0.0.0.0", port, PLAIN);
        listener.sock.cookie = cookie;
        Fixture::bind("0.0.0.0", port).with(listener, crate::diagnosis::KnownHolder::default())
    }

    #[test]
    fn retries_are_counted_and_reported_now_and_then() {
        let mut stream = Stream::default();
        for second in 0..25 {
            let mut again = fixture(8080, 5);
            // Each is another process of the program.
            again.call.process = process(900 + u32::try_from(second).unwrap(), "server").into();
            stream.fails(second, &again);
        }
        stream.event(25_000_000_000, Body::Footer(Box::default()));

        assert_eq!(stream.count("WHY"), 1, "{}", stream.text);
        assert_eq!(stream.count("FAILED"), 4, "{}", stream.text);
        assert_eq!(
            stream.count("10 times more, 11 in all"),
            1,
            "{}",
            stream.text
        );
        assert_eq!(
            stream.count("4 times more, 25 in all"),
            1,
            "{}",
            stream.text
        );
    }

    #[test]
    fn another_holder_is_another_reason() {
        let mut stream = Stream::default();
        stream.fails(0, &fixture(8080, 5));
        stream.fails(1, &fixture(8080, 5));
        stream.fails(2, &fixture(8080, 6));
        stream.event(13_000_000_000, Body::Tick(Tick::default()));

        assert_eq!(stream.count("WHY"), 2, "{}", stream.text);
        assert_eq!(stream.count("once more"), 1, "{}", stream.text);
    }

    #[test]
    fn what_the_kernel_only_counted_is_in_the_count() {
        let mut stream = Stream::default();
        stream.fails(0, &fixture(8080, 5));
        let mut sum = fixture(8080, 5).call;
        (sum.seen, sum.is_sum, sum.repeated) = (None, true, 99);
        stream.event(1_000_000_000, Body::Bind(Box::new(sum)));
        stream.event(2_000_000_000, Body::Footer(Box::default()));

        assert_eq!(
            stream.count("100 times more, 101 in all"),
            1,
            "{}",
            stream.text
        );
    }

    #[test]
    fn a_walk_over_many_ports_is_one_line_behind_the_first_ones() {
        let mut stream = Stream::default();
        for port in 8000..8040 {
            stream.fails(0, &fixture(port, u64::from(port)));
        }
        stream.event(1_000_000_000, Body::Footer(Box::default()));

        assert_eq!(stream.count("WHY"), 3, "{}", stream.text);
        assert_eq!(
            stream.count("and likewise on 37 more ports, 8003 to 8039: 37 calls"),
            1,
            "{}",
            stream.text
        );
    }
}
