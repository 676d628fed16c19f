//! What several descriptions have in common.

use std::fmt::Write as _;
use std::sync::Arc;

use super::View;
use crate::event::{Endpoint, KnownBy, Process, State};
use crate::printable::printable;

/// Appends who did it, or whose it is.
pub(super) fn push_process(text: &mut String, process: Option<&Arc<Process>>) {
    if let Some(process) = process {
        let by = if process.via == KnownBy::Tracked {
            "of"
        } else {
            "by"
        };
        let _ = write!(text, "  {by} {}", name(process));
    }
}

/// `nginx[4711]`, printable.
pub(in crate::export) fn name(process: &Process) -> String {
    format!("{}[{}]", printable(&process.comm), process.pid)
}

/// Both ends; a listener has one.
pub(in crate::export) fn connection(local: Endpoint, peer: Endpoint) -> String {
    if peer.has_port() {
        format!("{local} <-> {peer}")
    } else {
        local.to_string()
    }
}

/// Milliseconds as seconds with one digit.
pub(in crate::export) fn seconds(ms: u64) -> String {
    format!("{}.{} s", ms / 1000, ms % 1000 / 100)
}

/// Both ends in a row: this side only by its port where room is short.
pub(super) fn pair(local: Endpoint, peer: Endpoint, view: &View) -> String {
    let local = if view.is_wide {
        local.to_string()
    } else {
        format!(":{}", local.port)
    };
    if peer.has_port() {
        format!("{local} ↔ {peer}")
    } else {
        local
    }
}

/// A state in a row.
pub(super) fn capitals(state: State) -> String {
    state.name().to_uppercase()
}

/// `word` and the process, where there is one.
pub(super) fn by(word: &str, process: Option<&Process>) -> String {
    process.map_or_else(String::new, |process| format!("{word}{process}"))
}
