//! Printed commands, run as printed by a real shell: the fault is gone, and
//! nobody else has noticed.

pub(crate) mod fault;
mod kernels;
mod programs;
pub(crate) mod stages;
pub(crate) mod systemd;
mod table;

use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// Runs a line as somebody does who pastes it into a terminal. Where the thread by which it
/// found its namespace has ended a moment later it has done nothing, and is pasted once more.
pub(crate) fn paste(line: &str) -> Output {
    let run = || {
        Command::new("sh")
            .args(["-c", line])
            .stdin(Stdio::null())
            .output()
            .expect("sh is there")
    };
    let output = run();
    let says = |bytes: &[u8], text: &str| String::from_utf8_lossy(bytes).contains(text);
    let is_too_late = says(&output.stdout, "no netns") && says(&output.stderr, "cannot open");
    if is_too_late { run() } else { output }
}

/// The fixes that have a command of a shell: (id, line, effect).
pub(crate) fn commands(diagnosis: &Value) -> Vec<(String, String, String)> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let fixes = diagnosis["fixes"].as_array().expect("a list");
    fixes
        .iter()
        .filter_map(|fix| {
            Some((
                text(&fix["id"])?,
                text(&fix["command"])?,
                text(&fix["effect"])?,
            ))
        })
        .collect()
}
