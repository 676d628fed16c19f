//! What the header, the footer and the reading of the file say of a recording.

use super::super::{Clock, Environment, Recording, trim};
use super::Reading;
use crate::engine::Engine;
use crate::event::{Header, ProbeStatus};

/// Arguments and filters that are listed.
const MAX_ARGUMENTS: usize = 64;

pub(super) fn recording(
    engine: &Engine,
    header: &Header,
    clock: Clock,
    end_ns: u64,
    reading: Reading,
) -> Recording {
    let ended = engine
        .footer()
        .map(|footer| trim::text(&footer.ended, trim::MAX_TEXT));
    Recording {
        schema: trim::text(&header.schema, trim::MAX_WORD),
        begins: clock.at(clock.start_ns),
        ends: clock.at(end_ns),
        events: engine.counts().values().sum(),
        is_complete: ended.is_some()
            && reading.cut_in_line.is_none()
            && reading.first_part.is_none()
            && reading.unreadable_lines == 0,
        ended,
        first_part: reading.first_part,
        cut_in_line: reading.cut_in_line,
        unreadable_lines: reading.unreadable_lines,
        unreadable: reading.unreadable,
    }
}

pub(super) fn environment(mut header: Header) -> Environment {
    let short = |part: &String| trim::text(part, trim::MAX_TEXT);
    let Header { filters, .. } = &mut header;
    filters.ports.truncate(MAX_ARGUMENTS);
    filters.pids.truncate(MAX_ARGUMENTS);
    filters.comms.truncate(MAX_ARGUMENTS);
    filters.comms = filters.comms.iter().map(short).collect();
    filters.states.truncate(MAX_ARGUMENTS);
    filters.addrs.truncate(MAX_ARGUMENTS);
    header.sysctls.ip_local_reserved_ports =
        header.sysctls.ip_local_reserved_ports.as_ref().map(short);
    let attached = |status| {
        header
            .probes
            .iter()
            .filter(move |probe| probe.status == status)
    };
    Environment {
        tcpstate: short(&header.tcpstate),
        argv: header.argv.iter().take(MAX_ARGUMENTS).map(short).collect(),
        host: short(&header.host),
        kernel: short(&header.kernel),
        arch: short(&header.arch),
        boot_id: short(&header.boot_id),
        netns: header.netns,
        capture: header.capture,
        probes_attached: attached(ProbeStatus::Attached).count() as u64,
        probes_missing: attached(ProbeStatus::Unavailable)
            .take(MAX_ARGUMENTS)
            .map(|probe| crate::event::Probe {
                name: short(&probe.name),
                kind: short(&probe.kind),
                status: probe.status,
                why: probe.why.as_ref().map(short),
            })
            .collect(),
        filters: header.filters,
        sysctls: header.sysctls,
    }
}
