//! The table that a person reads, in 80 columns.

use std::fmt::Write as _;

use super::{downtime, failed_binds, label, reasons, says, sentence};
use crate::event::RestartTest;
use crate::printable::printable;

/// Columns of the narrowest terminal that there is.
const WIDTH: usize = 80;

/// The table, why each round came out so, and what to do.
#[must_use]
pub fn text(test: &RestartTest) -> String {
    let isolation = if test.private {
        "in network namespaces of its own"
    } else {
        "on the host"
    };
    let mut out = format!("port {}, {isolation}\n\n", test.port);
    let _ = writeln!(
        out,
        "  {:24} {:8} {:>9} {:>8} {:>6} {:>12}",
        "way", "restarts", "downtime", "refused", "reset", "failed binds"
    );
    for round in &test.rounds {
        let _ = writeln!(
            out,
            "  {:24} {:8} {:>9} {:>8} {:>6} {:>12}",
            label(test, round),
            says(round.outcome),
            downtime(round),
            round.refused,
            round.reset,
            failed_binds(round)
        );
    }
    for skipped in &test.skipped {
        paragraph(
            &mut out,
            &format!("  {:24} not tried:", skipped.way.name()),
            &skipped.why,
        );
    }
    out.push('\n');
    for reason in reasons(test) {
        paragraph(
            &mut out,
            "  ",
            &format!("{}: {}", reason.rounds, reason.text),
        );
    }
    for fix in &test.fixes {
        paragraph(&mut out, "  fix", &fix.text);
        if let (Some(line), Some(language)) = (&fix.command, &fix.language) {
            // A line to be pasted is not broken.
            let _ = writeln!(out, "      {}: {}", printable(language), printable(line));
        }
    }
    for note in &test.notes {
        paragraph(&mut out, "  note", note);
    }
    paragraph(
        &mut out,
        &format!("{}:", test.verdict.name()),
        &sentence(test),
    );
    out
}

/// Appends words in lines of at most 80 columns: the first after `begin`, the others indented.
fn paragraph(out: &mut String, begin: &str, text: &str) {
    const INDENT: &str = "      ";
    out.push_str(begin);
    let mut width = begin.chars().count();
    let mut is_first = true;
    for word in printable(text).split_whitespace() {
        let length = word.chars().count();
        if width + 1 + length > WIDTH && !is_first {
            out.push('\n');
            out.push_str(INDENT);
            width = INDENT.len();
        } else if !out.ends_with(' ') {
            out.push(' ');
            width += 1;
        }
        is_first = false;
        out.push_str(word);
        width += length;
    }
    out.push('\n');
}
