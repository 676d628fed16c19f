//! The program itself, as a process in the test's namespace.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Stdio};

/// Runs the program to its end and does something once its table is filled;
/// returns its stdout and stderr.
pub(crate) fn run_around(arguments: &[&str], act: impl FnOnce()) -> (String, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tcpstate"))
        .args(["watch", "--json", "--netns", "self"])
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut text = String::new();
    // The header is written together with the table.
    stdout.read_line(&mut text).unwrap();
    act();
    stdout.read_to_string(&mut text).unwrap();
    let mut errors = String::new();
    let mut stderr = child.stderr.take().unwrap();
    stderr.read_to_string(&mut errors).unwrap();
    assert!(child.wait().unwrap().success(), "{errors}");
    (text, errors)
}
