//! Writes lines. The four head fields are written by hand: flattened into serde's they cost
//! more than the rest.
//!
//! So are the payloads of the four events that come by the hundred thousand a second: with
//! serde such lines take 1.36 to 1.59 times as long (`docs/decisions/008-json-writer.md`).
//! Each struct is taken apart in full, so that a new field does not compile until it is
//! written here, and tests hold every byte against what serde writes. All others go to serde.

use std::net::IpAddr;
use std::sync::Arc;

use crate::event::{
    Body, ClockAnchor, Endpoint, Event, ExitReason, Family, Mini, NetnsEnd, Process, Reuse, Sock,
    SocketSeen, Source, StateChange, TimeWaitEnter, TimeWaitExit, for_payload, rfc3339,
};

/// Processes whose JSON is kept; two of one place take turns.
const PROCESSES: usize = 64;

/// Writes lines, remembering what repeats from one to the next.
#[derive(Debug, Default)]
pub struct Lines {
    /// A second and its text up to the fraction: `2026-11-18T11:06:41.`.
    second: Option<(u64, String)>,
    /// Processes as JSON. Each is kept, so that no other one gets its address.
    processes: Vec<Option<(Arc<Process>, Vec<u8>)>>,
}

impl Lines {
    /// Appends one event as one line.
    ///
    /// # Errors
    ///
    /// As [`write_line`](super::write_line).
    pub fn write(
        &mut self,
        event: &Event,
        clock: ClockAnchor,
        line: &mut Vec<u8>,
    ) -> serde_json::Result<()> {
        self.head(event, clock, line);
        match &event.body {
            Body::State(change) => self.state(change, line)?,
            Body::TimeWaitEnter(entered) => self.time_wait_enter(entered, line)?,
            Body::TimeWaitExit(exited) => Self::time_wait_exit(exited, line),
            Body::Socket(seen) if seen.processes.is_none() => self.socket(seen, line)?,
            body => put_fields(body, line)?,
        }
        line.extend_from_slice(b"}\n");
        Ok(())
    }

    fn head(&mut self, event: &Event, clock: ClockAnchor, line: &mut Vec<u8>) {
        const SECOND_NS: u64 = 1_000_000_000;
        let realtime_ns = clock.realtime_ns(event.mono_ns);
        let (second, fraction) = (realtime_ns / SECOND_NS, realtime_ns % SECOND_NS);
        if self
            .second
            .as_ref()
            .is_none_or(|(known, _)| *known != second)
        {
            let mut text = rfc3339::format(second * SECOND_NS);
            text.truncate(text.len() - "000000000Z".len());
            self.second = Some((second, text));
        }
        put(line, r#"{"event":""#);
        put(line, event.body.name());
        put(line, r#"","seq":"#);
        put_number(line, event.seq);
        put(line, r#","ts":""#);
        if let Some((_, text)) = &self.second {
            put(line, text);
        }
        let mut digits = *b"000000000";
        let mut rest = fraction;
        for digit in digits.iter_mut().rev() {
            *digit += u8::try_from(rest % 10).unwrap_or(0);
            rest /= 10;
        }
        line.extend_from_slice(&digits);
        put(line, r#"Z","mono_ns":"#);
        put_number(line, event.mono_ns);
    }

    fn state(&mut self, change: &StateChange, line: &mut Vec<u8>) -> serde_json::Result<()> {
        let StateChange {
            sock,
            local,
            peer,
            old,
            new,
            old_raw,
            new_raw,
            process,
            reuse,
            error,
            listener,
            netns_cookie,
            mini,
        } = change;
        put_place(line, sock, local, peer);
        put(line, r#","old":""#);
        put(line, old.name());
        put(line, r#"","new":""#);
        put(line, new.name());
        put(line, r#"","old_raw":"#);
        put_number(line, *old_raw);
        put(line, r#","new_raw":"#);
        put_number(line, *new_raw);
        if let Some(process) = process {
            put(line, r#","process":"#);
            self.process(process, line)?;
        }
        put(line, r#","reuse":"#);
        put_reuse(*reuse, line);
        if let Some(error) = error {
            put(line, r#","error":"#);
            serde_json::to_writer(&mut *line, error)?;
        }
        if let Some(listener) = listener {
            put(line, r#","listener":"#);
            put_number(line, *listener);
        }
        if let Some(netns_cookie) = netns_cookie {
            put(line, r#","netns_cookie":"#);
            put_number(line, *netns_cookie);
        }
        if let Some(mini) = mini {
            let Mini {
                state,
                expires_ms,
                reuse,
                source,
            } = mini;
            put(line, r#","mini":{"state":""#);
            put(line, state.name());
            put(line, "\"");
            if let Some(expires_ms) = expires_ms {
                put(line, r#","expires_ms":"#);
                put_number(line, *expires_ms);
            }
            put(line, r#","reuse":"#);
            put_reuse(*reuse, line);
            put_source(*source, line);
            put(line, "}");
        }
        Ok(())
    }

    fn time_wait_enter(
        &mut self,
        entered: &TimeWaitEnter,
        line: &mut Vec<u8>,
    ) -> serde_json::Result<()> {
        let TimeWaitEnter {
            sock,
            local,
            peer,
            from,
            reuse,
            left_by,
            expires_ms,
            source,
        } = entered;
        put_place(line, sock, local, peer);
        put(line, r#","from":""#);
        put(line, from.name());
        put(line, r#"","reuse":"#);
        put_reuse(*reuse, line);
        if let Some(process) = left_by {
            put(line, r#","left_by":"#);
            self.process(process, line)?;
        }
        put(line, r#","expires_ms":"#);
        put_number(line, *expires_ms);
        put_source(*source, line);
        Ok(())
    }

    fn time_wait_exit(exited: &TimeWaitExit, line: &mut Vec<u8>) {
        let TimeWaitExit {
            sock,
            local,
            peer,
            reason,
            lived_ms,
            source,
        } = exited;
        put_place(line, sock, local, peer);
        put(line, r#","reason":""#);
        put(line, exit_name(*reason));
        put(line, r#"","lived_ms":"#);
        put_number(line, *lived_ms);
        put_source(*source, line);
    }

    fn socket(&mut self, seen: &SocketSeen, line: &mut Vec<u8>) -> serde_json::Result<()> {
        let SocketSeen {
            sock,
            local,
            peer,
            state,
            process,
            // Rare, and left to serde.
            processes: _,
            reuse,
            expires_ms,
            netns_ended,
            ended,
            source,
        } = seen;
        put_place(line, sock, local, peer);
        put(line, r#","state":""#);
        put(line, state.name());
        put(line, "\"");
        if let Some(process) = process {
            put(line, r#","process":"#);
            self.process(process, line)?;
        }
        if let Some(reuse) = reuse {
            put(line, r#","reuse":"#);
            put_reuse(*reuse, line);
        }
        if let Some(expires_ms) = expires_ms {
            put(line, r#","expires_ms":"#);
            put_number(line, *expires_ms);
        }
        if let Some(end) = netns_ended {
            put(
                line,
                match end {
                    NetnsEnd::Gone => r#","netns_ended":"gone""#,
                    NetnsEnd::Unreachable => r#","netns_ended":"unreachable""#,
                },
            );
        }
        if let Some(ended) = ended {
            put(line, r#","ended":""#);
            put(line, exit_name(*ended));
            put(line, "\"");
        }
        put_source(*source, line);
        Ok(())
    }

    fn process(&mut self, process: &Arc<Process>, line: &mut Vec<u8>) -> serde_json::Result<()> {
        if self.processes.is_empty() {
            self.processes.resize(PROCESSES, None);
        }
        // Neighbours in memory lie a process's size apart.
        let place = Arc::as_ptr(process).addr() / size_of::<Process>() % PROCESSES;
        let slot = &mut self.processes[place];
        match slot {
            Some((known, json)) if Arc::ptr_eq(known, process) => line.extend_from_slice(json),
            _ => {
                let json = serde_json::to_vec(process)?;
                line.extend_from_slice(&json);
                *slot = Some((Arc::clone(process), json));
            }
        }
        Ok(())
    }
}

/// The fields of what the event holds, as serde writes them, after the head's.
fn put_fields(body: &Body, line: &mut Vec<u8>) -> serde_json::Result<()> {
    let start = line.len();
    for_payload!(body, payload => serde_json::to_writer(&mut *line, payload))?;
    // {"name":1} is to follow the head as ,"name":1 and {} as nothing.
    line.pop();
    if line.len() == start + 1 {
        line.pop();
    } else if let Some(brace) = line.get_mut(start) {
        *brace = b',';
    }
    Ok(())
}

fn exit_name(reason: ExitReason) -> &'static str {
    match reason {
        ExitReason::Expired => "expired",
        ExitReason::Reused => "reused",
        ExitReason::Destroyed => "destroyed",
        ExitReason::Unknown => "unknown",
    }
}

/// What all four begin with.
fn put_place(line: &mut Vec<u8>, sock: &Sock, local: &Endpoint, peer: &Endpoint) {
    let Sock {
        cookie,
        netns,
        family,
    } = sock;
    put(line, r#","sock":{"cookie":"#);
    put_number(line, *cookie);
    put(line, r#","netns":"#);
    put_number(line, *netns);
    put(
        line,
        match family {
            Family::Ipv4 => r#","family":"ipv4"},"local":"#,
            Family::Ipv6 => r#","family":"ipv6"},"local":"#,
        },
    );
    put_endpoint(line, *local);
    put(line, r#","peer":"#);
    put_endpoint(line, *peer);
}

fn put_endpoint(line: &mut Vec<u8>, endpoint: Endpoint) {
    let Endpoint { addr, port } = endpoint;
    put(line, r#"{"addr":""#);
    match addr {
        IpAddr::V4(addr) => {
            let [a, b, c, d] = addr.octets();
            put_number(line, a);
            for octet in [b, c, d] {
                line.push(b'.');
                put_number(line, octet);
            }
        }
        IpAddr::V6(addr) => {
            use std::io::Write as _;

            // Memory takes everything.
            let _ = write!(line, "{addr}");
        }
    }
    put(line, r#"","port":"#);
    put_number(line, port);
    line.push(b'}');
}

fn put_number(line: &mut Vec<u8>, number: impl itoa::Integer) {
    put(line, itoa::Buffer::new().format(number));
}

fn put(line: &mut Vec<u8>, text: &str) {
    line.extend_from_slice(text.as_bytes());
}

fn put_reuse(reuse: Reuse, line: &mut Vec<u8>) {
    let Reuse {
        reuseaddr,
        reuseport,
        v6only,
    } = reuse;
    let put_claim = |line: &mut Vec<u8>, name: &str, is_so: bool| {
        put(line, name);
        put(line, if is_so { "true" } else { "false" });
    };
    put_claim(line, r#"{"reuseaddr":"#, reuseaddr);
    put_claim(line, r#","reuseport":"#, reuseport);
    put_claim(line, r#","v6only":"#, v6only);
    put(line, "}");
}

/// The last field of all that have it.
fn put_source(source: Source, line: &mut Vec<u8>) {
    put(
        line,
        match source {
            Source::Kernel => r#","source":"kernel""#,
            Source::Inferred => r#","source":"inferred""#,
            Source::Snapshot => r#","source":"snapshot""#,
        },
    );
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event::{KnownBy, Loss, LossStage, State, Tick};

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
        let place = (socks(), endpoints(), endpoints());
        let rest = (states(), states(), reuses(), processes(), sources());
        let numbers = (
            proptest::option::of(any::<u64>()),
            proptest::option::of(any::<u32>()),
            any::<u8>(),
            proptest::option::of("[a-zA-Z\"\\\\]{0,8}"),
        );
        (0..6, place, rest, numbers).prop_map(
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
}
