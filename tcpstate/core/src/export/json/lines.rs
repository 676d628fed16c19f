//! Writes lines. The four head fields are written by hand: flattened into serde's they cost
//! more than the rest.
//!
//! So are the payloads of the four events that come by the hundred thousand a second: with
//! serde such lines take 1.36 to 1.59 times as long (`docs/decisions/008-json-writer.md`).
//! Each struct is taken apart in full, so that a new field does not compile until it is
//! written here, and tests hold every byte against what serde writes. All others go to serde.

#[cfg(test)]
mod tests;
mod values;

use std::sync::Arc;

use crate::event::{
    Body, ClockAnchor, Event, Mini, NetnsEnd, Process, SocketSeen, StateChange, TimeWaitEnter,
    TimeWaitExit, for_payload, rfc3339,
};
use values::{exit_name, put, put_addresses, put_number, put_reuse, put_source};

/// Processes whose JSON is kept; two of one slot take turns.
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
        put_addresses(line, sock, local, peer);
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
        put_addresses(line, sock, local, peer);
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
        put_addresses(line, sock, local, peer);
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
        put_addresses(line, sock, local, peer);
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
        let index = Arc::as_ptr(process).addr() / size_of::<Process>() % PROCESSES;
        let slot = &mut self.processes[index];
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
