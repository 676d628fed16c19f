//! The first line of what a run records.

use crate::clock;
use crate::event::{Capture, Filters, Header, Probe, SCHEMA_VERSION, Sysctls};
use crate::snapshot::netns;

/// Of a run of this program, on this host, from now on, that is narrowed to nothing.
pub(super) fn of(probes: Vec<Probe>, capture: Capture, sysctls: Sysctls) -> Header {
    let system = rustix::system::uname();
    let text = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
    Header {
        schema: SCHEMA_VERSION.to_owned(),
        tcpstate: env!("CARGO_PKG_VERSION").to_owned(),
        argv: std::env::args_os()
            .map(|word| word.to_string_lossy().into_owned())
            .collect(),
        host: text(system.nodename()),
        kernel: text(system.release()),
        arch: text(system.machine()),
        boot_id: std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .unwrap_or_default()
            .trim()
            .to_owned(),
        netns: netns::current().ok(),
        netns_cookie: netns::current_cookie(),
        clock: clock::anchor(),
        filters: Filters::default(),
        probes,
        capture,
        sysctls,
        part: None,
    }
}
