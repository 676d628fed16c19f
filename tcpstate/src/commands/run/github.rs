//! Under GitHub Actions a failed call is also an annotation and part of the step's summary.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;

use crate::event::{Applies, Diagnosis};
use crate::printable::printable;

/// Says it there, if we run there.
pub(super) fn annotate(diagnosis: &Diagnosis) {
    if std::env::var_os("GITHUB_ACTIONS").is_none_or(|value| value != "true") {
        return;
    }
    // The runner reads commands from both streams, and stdout is the program's.
    super::progress::write(&command(diagnosis));
    let Some(path) = std::env::var_os("GITHUB_STEP_SUMMARY") else {
        return;
    };
    let file = OpenOptions::new().append(true).create(true).open(path);
    // The annotation has said it already.
    let _ = file.and_then(|mut file| file.write_all(summary(diagnosis).as_bytes()));
}

/// A workflow command, which ends with its line.
fn command(diagnosis: &Diagnosis) -> String {
    format!(
        "::error title=tcpstate: {}::{}\n",
        diagnosis.cause.name(),
        escape(&diagnosis.summary)
    )
}

/// What the runner takes for the end of a command's message, escaped as it reads it.
fn escape(text: &str) -> String {
    printable(text).replace('%', "%25")
}

fn summary(diagnosis: &Diagnosis) -> String {
    let mut text = format!(
        "### tcpstate: {}\n\n{}\n\n",
        diagnosis.cause.name(),
        markdown(&diagnosis.summary)
    );
    for fix in &diagnosis.fixes {
        if fix.applies != Applies::No {
            let _ = writeln!(text, "- {}", markdown(&fix.text));
        }
    }
    text.push('\n');
    text
}

/// Text of others may be no markup.
fn markdown(text: &str) -> String {
    let mut escaped = String::new();
    for character in printable(text).chars() {
        if "\\`*_{}[]<>()#+!|&~".contains(character) {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_chose_ends_no_command_and_is_no_markup() {
        assert_eq!(
            escape("100%\n::set-env::\r"),
            "100%25\\u{a}::set-env::\\u{d}"
        );
        assert_eq!(markdown("<b>*"), "\\<b\\>\\*");
    }
}
