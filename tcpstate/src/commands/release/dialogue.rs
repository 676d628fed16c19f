//! What the dashboard and the process that frees ports for it say to each other: a line of
//! JSON each.

use std::io::{self, BufRead as _, Write as _};

use serde::{Deserialize, Serialize};

use crate::tui::ReleaseRequest;

/// From the dashboard.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum DashboardMessage {
    /// Show the plan for this port, and ask.
    Release(ReleaseRequest),
    /// Whether `yes` was typed.
    Answer(bool),
}

/// To the dashboard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::commands) enum Said {
    /// To be shown.
    Text(String),
    /// An answer is waited for.
    Ask,
    /// That was all.
    Ended,
}

pub(super) fn line(message: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(message).unwrap_or_default();
    line.push(b'\n');
    line
}

/// Nobody can be told that nobody listens.
pub(super) fn say(said: &Said) {
    let mut stdout = io::stdout().lock();
    let _ = stdout.write_all(&line(said)).and_then(|()| stdout.flush());
}

/// Waits for the answer. Without one it is no.
pub(super) fn is_yes() -> bool {
    say(&Said::Ask);
    let mut text = String::new();
    let read = io::stdin().lock().read_line(&mut text);
    read.is_ok()
        && matches!(
            serde_json::from_str(&text),
            Ok(DashboardMessage::Answer(true))
        )
}
