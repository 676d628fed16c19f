//! Under GitHub Actions a failed call is also an annotation and part of the step's summary.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;

use crate::event::{Applies, Diagnosis};
use crate::markdown::escape as escape_markup;
use crate::printable::printable;

/// Says it there, if we run there.
pub(super) fn annotate(diagnosis: &Diagnosis) {
    say(
        diagnosis.cause.name(),
        &diagnosis.summary,
        &summary(diagnosis),
    );
}

/// Annotates the step with an error, and appends Markdown to its summary, if we run there.
pub(in crate::commands) fn say(title: &str, error: &str, markdown: &str) {
    if !is_there() {
        return;
    }
    // The runner reads commands from both streams, and stdout is the program's.
    super::progress::write(&command(title, error));
    summarize(markdown);
}

/// Appends Markdown to the step's summary, if we run there.
pub(in crate::commands) fn summarize(markdown: &str) {
    let Some(path) = std::env::var_os("GITHUB_STEP_SUMMARY").filter(|_| is_there()) else {
        return;
    };
    let file = OpenOptions::new().append(true).create(true).open(path);
    // It has been said elsewhere already.
    let _ = file.and_then(|mut file| file.write_all(markdown.as_bytes()));
}

fn is_there() -> bool {
    std::env::var_os("GITHUB_ACTIONS").is_some_and(|value| value == "true")
}

/// A workflow command, which ends with its line.
fn command(title: &str, error: &str) -> String {
    format!("::error title=tcpstate: {title}::{}\n", escape(error))
}

/// What the runner takes for the end of a command's message, escaped as it reads it.
fn escape(text: &str) -> String {
    printable(text).replace('%', "%25")
}

fn summary(diagnosis: &Diagnosis) -> String {
    let mut text = format!(
        "### tcpstate: {}\n\n{}\n\n",
        diagnosis.cause.name(),
        escape_markup(&printable(&diagnosis.summary))
    );
    for fix in &diagnosis.fixes {
        if fix.applies != Applies::No {
            let _ = writeln!(text, "- {}", escape_markup(&printable(&fix.text)));
        }
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_chose_ends_no_command() {
        assert_eq!(
            escape("100%\n::set-env::\r"),
            "100%25\\u{a}::set-env::\\u{d}"
        );
    }
}
