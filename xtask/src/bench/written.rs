//! What an observer wrote down, counted.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::Value;

/// What tcpstate's JSON has.
pub(super) struct JsonCounts {
    /// State changes.
    pub(super) states: u64,
    pub(super) lines: u64,
    /// Events that it says it lost.
    pub(super) lost: u64,
}

/// State changes, lines and losses of tcpstate's JSON.
pub(super) fn count_json(path: &Path) -> Result<JsonCounts> {
    let (states, lines) = read_lines(path, |line| line.starts_with(r#"{"event":"tcp.state""#))?;
    let mut last = String::new();
    for line in BufReader::new(File::open(path)?).lines() {
        last = line?;
    }
    let footer: Value = serde_json::from_str(&last).context("the last line is not JSON")?;
    anyhow::ensure!(footer["event"] == "footer", "the output has no footer");
    Ok(JsonCounts {
        states,
        lines,
        lost: footer["losses"]["kernel"].as_u64().unwrap_or(0),
    })
}

/// Lines that are wanted, and all.
pub(super) fn read_lines(path: &Path, is_wanted: impl Fn(&str) -> bool) -> Result<(u64, u64)> {
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let (mut wanted, mut all) = (0, 0);
    for line in BufReader::with_capacity(1 << 20, file).lines() {
        all += 1;
        wanted += u64::from(is_wanted(&line?));
    }
    Ok((wanted, all))
}

/// Adds up `lost 12 events`, `Lost 12 events`.
pub(super) fn reported_lost(err: &str) -> u64 {
    err.lines()
        .filter_map(|line| {
            let (_, rest) = line.split_once("ost ")?;
            rest.split_whitespace().next()?.parse::<u64>().ok()
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_peers_say_they_lost_is_added_up() {
        let err = "lost 12 events on CPU #0!\nAttaching 1 probe...\nLost 30 events\n";

        assert_eq!(reported_lost(err), 42);
    }
}
