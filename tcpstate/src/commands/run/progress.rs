//! The binds that are held back: one line each, which counts down on a terminal.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _, Write as _};

use crate::clock;
use crate::event::{Call, Endpoint, Explanation};
use crate::model::NS_PER_MS;
use crate::printable::printable;
use crate::stdio::Stream;

/// Begins the line anew and clears it.
const CLEAR: &str = "\r\x1b[K";

/// A bind that is held back.
#[derive(Debug)]
pub(super) struct HeldBind {
    id: u64,
    endpoint: String,
    why: String,
    since_ns: u64,
    /// When it is let through or fails, as far as that is known.
    until_ns: Option<u64>,
}

impl HeldBind {
    /// `until_ns`: when it fails at the latest.
    pub(super) fn new(
        id: u64,
        call: &Call,
        answer: Option<&Explanation>,
        until_ns: Option<u64>,
        now_ns: u64,
    ) -> Self {
        let port = call.requested.port;
        let endpoint = call.requested.addr.map_or_else(
            || format!("port {port}"),
            |addr| Endpoint { addr, port }.to_string(),
        );
        let clears_ns = answer
            .and_then(|answer| answer.clears_ms)
            .map(|ms| now_ns.saturating_add(ms.saturating_mul(NS_PER_MS)));
        let why = answer.map_or_else(
            || "what holds it cannot be read".to_owned(),
            |answer| answer.summary.clone(),
        );
        let ends = [clears_ns, until_ns];
        Self {
            id,
            endpoint,
            why,
            since_ns: now_ns,
            until_ns: ends.into_iter().flatten().min(),
        }
    }
}

/// All of them.
#[derive(Debug)]
pub(super) struct Progress {
    waiting: BTreeMap<u64, HeldBind>,
    is_terminal: bool,
    /// The cursor is in a line of ours.
    is_shown: bool,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self {
            waiting: BTreeMap::new(),
            is_terminal: io::stderr().is_terminal(),
            is_shown: false,
        }
    }

    pub(super) fn begin(&mut self, waiting: HeldBind) {
        self.clear();
        let left = waiting
            .until_ns
            .filter(|_| !self.is_terminal)
            .map(|until_ns| format!(" (about {} s)", seconds(until_ns, waiting.since_ns)))
            .unwrap_or_default();
        print(&format!(
            "waiting to bind {}{left}: {}",
            waiting.endpoint, waiting.why
        ));
        self.waiting.insert(waiting.id, waiting);
        self.redraw();
    }

    pub(super) fn end(&mut self, id: u64, is_bound: bool) {
        self.clear();
        let Some(waiting) = self.waiting.remove(&id) else {
            return;
        };
        if is_bound {
            let now_ns = clock::monotonic_ns();
            print(&format!(
                "bound {} after {} s",
                waiting.endpoint,
                seconds(now_ns, waiting.since_ns)
            ));
        }
        self.redraw();
    }

    /// Shows how long it still takes.
    pub(super) fn redraw(&mut self) {
        let Some(first) = self.waiting.values().next().filter(|_| self.is_terminal) else {
            return;
        };
        let now_ns = clock::monotonic_ns();
        let time = match first.until_ns {
            Some(until_ns) if until_ns > now_ns => format!("{} s left", seconds(until_ns, now_ns)),
            _ => format!("for {} s", seconds(now_ns, first.since_ns)),
        };
        let endpoint = printable(&first.endpoint);
        write(&format!(
            "{CLEAR}tcpstate: waiting to bind {endpoint}, {time}"
        ));
        self.is_shown = true;
    }

    /// Takes the line away, for something else to be said.
    pub(super) fn clear(&mut self) {
        if std::mem::take(&mut self.is_shown) {
            write(CLEAR);
        }
    }
}

fn seconds(later_ns: u64, earlier_ns: u64) -> String {
    let tenths = later_ns.saturating_sub(earlier_ns) / (100 * NS_PER_MS);
    format!("{}.{}", tenths / 10, tenths % 10)
}

/// Prints a sentence on stderr.
pub(super) fn print(text: &str) {
    write(&format!("tcpstate: {}\n", printable(text)));
}

/// Writes to stderr. A call may wait for its answer meanwhile: who does not read is not waited
/// for, and nobody can be told.
pub(super) fn write(text: &str) {
    let _ = Stream::brief_stderr().write_all(text.as_bytes());
}
