//! What a test needs of the machine, said by the test itself.
//!
//! A requirement that is not met skips the test; with `TCPSTATE_REQUIRE_LIVE=1` it
//! fails instead. Each skip is a line in the file that `TCPSTATE_SKIPPED` names: the
//! test, the requirement in the fixed form of [`Requirement::form`], and what a person
//! reads, with tabs between. `cargo xtask` holds these against what the machine has, so
//! that nothing is skipped that could run.

use std::io::Write as _;
use std::path::Path;

use tcpstate_common::release::numbers;

pub use Requirement::{
    Before, Linux, Optional, Processors, Program, PythonModule, RealTime, Root, Sources,
};

/// One thing that a test cannot do without.
#[derive(Clone, Copy, Debug)]
pub enum Requirement {
    /// The rights to make namespaces and to load kernel programs.
    Root,
    /// A program, and the package of Debian's that has it.
    Program(&'static str, &'static str),
    /// The same of one that the gate does not install: too much for a machine that has it for
    /// nothing else, or not to be had everywhere.
    Optional(&'static str, &'static str),
    /// A module of `python3`, by the name that `pip install` takes.
    PythonModule(&'static str),
    /// This version of Linux or a later one, and what it brought.
    Linux(u32, u32, &'static str),
    /// An earlier version of Linux than this one, and what this one brought.
    Before(u32, u32, &'static str),
    /// The program's source.
    Sources,
    /// So many processors at least.
    Processors(usize),
    /// Work that takes the time it takes on a processor: an emulated machine has no
    /// figures to give. Says what is measured.
    RealTime(&'static str),
}

/// `ss -K` reaches a TIME_WAIT.
pub const DESTROYS_TIME_WAITS: Requirement = Linux(6, 0, "destroys a TIME_WAIT");
/// Before it nothing says who has a port that is bound only.
pub const LISTS_BOUND_SOCKETS: Requirement = Linux(6, 8, "lists sockets that are bound only");

/// Something that a test has looked for in the running kernel and not found.
#[derive(Clone, Copy, Debug)]
pub struct Lacking<'a> {
    /// What is missing, as a sentence.
    pub what: &'a str,
    /// The Linux version from which it is always there, as (major, minor).
    pub since: Option<(u32, u32)>,
}

impl Requirement {
    fn is_met(self) -> bool {
        match self {
            Self::Root => rustix::process::geteuid().is_root(),
            Self::Program(name, _) | Self::Optional(name, _) => is_installed(name),
            Self::PythonModule(name) => std::process::Command::new("python3")
                .args(["-c", &format!("import {name}")])
                .output()
                .is_ok_and(|output| output.status.success()),
            Self::Linux(major, minor, _) => running_linux() >= (major, minor),
            Self::Before(major, minor, _) => running_linux() < (major, minor),
            Self::Sources => Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("../../src")
                .exists(),
            Self::Processors(count) => {
                std::thread::available_parallelism().is_ok_and(|here| here.get() >= count)
            }
            Self::RealTime(_) => std::env::var_os("TCPSTATE_EMULATED").is_none(),
        }
    }

    /// What `cargo xtask` reads.
    fn form(self) -> String {
        match self {
            Self::Root => "root".to_owned(),
            Self::Program(name, _) | Self::Optional(name, _) => format!("program {name}"),
            Self::PythonModule(name) => format!("python {name}"),
            Self::Linux(major, minor, _) => format!("linux {major}.{minor}"),
            Self::Before(major, minor, _) => format!("before {major}.{minor}"),
            Self::Sources => "sources".to_owned(),
            Self::Processors(count) => format!("processors {count}"),
            Self::RealTime(_) => "real-time".to_owned(),
        }
    }

    /// What a person reads.
    fn sentence(self) -> String {
        match self {
            Self::Root => "needs root".to_owned(),
            Self::Program(name, package) | Self::Optional(name, package) => {
                format!("{name} is not installed: apt-get install -y {package}")
            }
            Self::PythonModule(name) => {
                format!("the Python package {name} is not installed: pip install {name}")
            }
            Self::Linux(major, minor, what) | Self::Before(major, minor, what) => {
                format!("Linux {major}.{minor} {what}")
            }
            Self::Sources => "the program's source is not on this machine".to_owned(),
            Self::Processors(count) => format!("needs {count} processors"),
            Self::RealTime(what) => format!("measures {what}, which emulation decides"),
        }
    }
}

/// Whether all of it is met. If not, the test is skipped, which is recorded.
#[must_use]
pub fn require(requirements: &[Requirement]) -> bool {
    let unmet = requirements
        .iter()
        .find(|requirement| !requirement.is_met());
    if let Some(unmet) = unmet {
        match unmet {
            Before(..) | Optional(..) => note(&unmet.form(), &unmet.sentence()),
            _ => record(&unmet.form(), &unmet.sentence()),
        }
    }
    unmet.is_none()
}

/// Skips the test for what this machine need not have, and only the test itself can look for.
pub fn leave_out(what: &str) {
    note("feature", what);
}

/// Skips the test for what only the test itself can look for.
pub fn skip_for(lacking: Lacking<'_>) {
    let form = match lacking.since {
        Some((major, minor)) => format!("feature {major}.{minor}"),
        None => "feature".to_owned(),
    };
    record(&form, lacking.what);
}

fn record(form: &str, sentence: &str) {
    assert!(
        std::env::var_os("TCPSTATE_REQUIRE_LIVE").is_none(),
        "this test must run here, but: {sentence}"
    );
    note(form, sentence);
}

fn note(form: &str, sentence: &str) {
    println!("skipped: {sentence}");
    let name = std::thread::current().name().unwrap_or("a test").to_owned();
    // One write, for tests run side by side.
    append(
        "TCPSTATE_SKIPPED",
        &format!("{name}\t{form}\t{}\n", sentence.replace(['\t', '\n'], " ")),
    );
}

/// Says what was counted or measured, also where the output of the test is not shown.
pub fn report_figures(figures: &str) {
    println!("{figures}");
    append("TCPSTATE_FIGURES", &format!("{figures}\n"));
}

fn append(variable: &str, text: &str) {
    let Some(path) = std::env::var_os(variable) else {
        return;
    };
    std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .unwrap_or_else(|error| panic!("cannot write the file that {variable} names: {error}"));
}

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .any(|folder| folder.join(program).exists())
        || Path::new(program).is_absolute() && Path::new(program).exists()
}

/// Major and minor number of the running kernel.
pub fn running_linux() -> (u32, u32) {
    let uname = rustix::system::uname();
    numbers(&uname.release().to_string_lossy()).unwrap_or_default()
}
