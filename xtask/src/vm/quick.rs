//! A selection of tests for other kernels.
//!
//! Emulation takes ten times as long as the machine itself, and the whole suite
//! some ten minutes for each kernel and mode. These are the ones where
//! kernels differ: what each hook tells, how a TIME_WAIT lives and ends, why
//! calls fail, which holders are found, and that both modes tell the same. What
//! the others test (dashboards, files, other tools) is no kernel's business.

/// How the names of the tests begin.
pub(super) const TESTS: &[&str] = &[
    "modes::",
    "time_wait::",
    "io_uring::",
    "protocols::",
    "resets::",
    "causes::time_wait::",
    "causes::listeners::",
    "advice::harms::",
];

/// Says what is left out.
pub(super) fn explain() {
    println!(
        "the tests in which kernels differ, by name: {}; all of them run without --quick",
        TESTS.join(" ")
    );
}
