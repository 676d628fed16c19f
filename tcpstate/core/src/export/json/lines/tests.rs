//! Every byte is held against what serde writes.

use std::net::IpAddr;

use proptest::prelude::*;

use super::*;
use crate::event::{
    Endpoint, ExitReason, Family, KnownBy, Loss, LossStage, Reuse, Sock, Source, State, Tick,
};

fn endpoints() -> impl Strategy<Value = Endpoint> {
    (any::<IpAddr>(), any::<u16>()).prop_map(|(addr, port)| Endpoint { addr, port })
}

fn states() -> impl Strategy<Value = State> {
    (0..State::ALL.len()).prop_map(|at| State::ALL[at])
}

fn reuses() -> impl Strategy<Value = Reuse> {
    any::<[bool; 3]>().prop_map(|[reuseaddr, reuseport, v6only]| Reuse {
        reuseaddr,
        reuseport,
        v6only,
    })
}

fn sources() -> impl Strategy<Value = Source> {
    prop_oneof![
        Just(Source::Kernel),
        Just(Source::Inferred),
        Just(Source::Snapshot)
    ]
}

fn socks() -> impl Strategy<Value = Sock> {
    (any::<u64>(), any::<u32>(), any::<bool>()).prop_map(|(cookie, netns, is_v4)| Sock {
        cookie,
        netns,
        family: if is_v4 { Family::Ipv4 } else { Family::Ipv6 },
    })
}

fn processes() -> impl Strategy<Value = Option<Arc<Process>>> {
    // Few of them, so that they repeat; a name may hold anything.
    let process = (0..3_u32, "[a-c\"\\\\\u{1}é]{0,2}").prop_map(|(pid, comm)| {
        Arc::new(Process {
            pid,
            tid: Some(pid),
            comm: comm.into(),
            via: KnownBy::Tracked,
            ..Process::kernel()
        })
    });
    proptest::option::of(process)
}

fn bodies() -> impl Strategy<Value = Body> {
    let addresses = (socks(), endpoints(), endpoints());
    let rest = (states(), states(), reuses(), processes(), sources());
    let numbers = (
        proptest::option::of(any::<u64>()),
        proptest::option::of(any::<u32>()),
        any::<u8>(),
        proptest::option::of("[a-zA-Z\"\\\\]{0,8}"),
    );
    (0..6, addresses, rest, numbers).prop_map(
        |(kind, (sock, local, peer), (old, new, reuse, process, source), numbers)| {
            let (some, half, byte, text) = numbers;
            match kind {
                0 => Body::State(StateChange {
                    sock,
                    local,
                    peer,
                    old,
                    new,
                    old_raw: byte,
                    new_raw: byte / 2,
                    process,
                    reuse,
                    error: text.map(Arc::from),
                    listener: some,
                    netns_cookie: half,
                    mini: (byte % 2 == 0).then_some(Mini {
                        state: new,
                        expires_ms: some,
                        reuse,
                        source,
                    }),
                }),
                1 => Body::TimeWaitEnter(TimeWaitEnter {
                    sock,
                    local,
                    peer,
                    from: old,
                    reuse,
                    left_by: process,
                    expires_ms: u64::from(byte),
                    source,
                }),
                2 => Body::TimeWaitExit(TimeWaitExit {
                    sock,
                    local,
                    peer,
                    reason: match byte % 4 {
                        0 => ExitReason::Expired,
                        1 => ExitReason::Reused,
                        2 => ExitReason::Destroyed,
                        _ => ExitReason::Unknown,
                    },
                    lived_ms: u64::from(byte),
                    source,
                }),
                3 => Body::Tick(Tick {}),
                4 => Body::Loss(Loss {
                    stage: LossStage::User,
                    count: u64::from(byte),
                    resynced: byte % 2 == 0,
                }),
                _ => Body::Socket(SocketSeen {
                    sock,
                    local,
                    peer,
                    state: old,
                    processes: (byte % 5 == 0).then(|| process.clone().into_iter().collect()),
                    process,
                    reuse: (byte % 2 == 0).then_some(reuse),
                    expires_ms: some,
                    netns_ended: match byte % 3 {
                        0 => None,
                        1 => Some(NetnsEnd::Gone),
                        _ => Some(NetnsEnd::Unreachable),
                    },
                    ended: match byte % 5 {
                        0 => None,
                        1 => Some(ExitReason::Expired),
                        2 => Some(ExitReason::Reused),
                        3 => Some(ExitReason::Destroyed),
                        _ => Some(ExitReason::Unknown),
                    },
                    source,
                }),
            }
        },
    )
}

/// The line as serde alone would write it.
fn by_serde(event: &Event, clock: ClockAnchor) -> String {
    #[derive(serde::Serialize)]
    struct Line<'a, T> {
        event: &'static str,
        seq: u64,
        ts: String,
        mono_ns: u64,
        #[serde(flatten)]
        payload: &'a T,
    }
    for_payload!(&event.body, payload => serde_json::to_string(&Line {
        event: event.body.name(),
        seq: event.seq,
        ts: rfc3339::format(clock.realtime_ns(event.mono_ns)),
        mono_ns: event.mono_ns,
        payload,
    }))
    .unwrap()
        + "\n"
}

proptest! {
    #[test]
    fn every_line_is_the_one_that_serde_writes(
        events in proptest::collection::vec((any::<u64>(), 0..1_u64 << 60, bodies()), 1..20),
    ) {
        let clock = ClockAnchor { mono_ns: 5, realtime: 1_795_000_000_000_000_000 };
        let mut lines = Lines::default();
        for (seq, mono_ns, body) in events {
            let event = Event { seq, mono_ns, body };
            let mut line = Vec::new();
            lines.write(&event, clock, &mut line).unwrap();
            prop_assert_eq!(String::from_utf8(line).unwrap(), by_serde(&event, clock));
        }
    }
}
