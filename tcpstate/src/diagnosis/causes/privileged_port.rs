//! `privileged_port`: EACCES below `ip_unprivileged_port_start`.

use crate::event::{Applies, Cause};

use super::super::facts::{Errno, Facts};
use super::super::fixes::{self, Unit, fix};
use super::super::language::Language;
use super::super::{CallKind, text};
use super::{Answer, Explanation, Rule};

pub(super) const RULE: Rule = Rule {
    cause: Cause::PrivilegedPort,
    applies,
    explain,
};

/// What the kernel starts with.
const DEFAULT_START: u32 = 1024;

fn applies(facts: &Facts<'_>) -> Answer {
    is_port_rule(facts).into()
}

/// Whether the rule about low ports can be why.
pub(super) fn is_port_rule(facts: &Facts<'_>) -> bool {
    facts.failure.kind == CallKind::Bind
        && facts.errno == Errno::Acces
        && facts.port != 0
        && u32::from(facts.port) < start(facts).unwrap_or(DEFAULT_START)
        && facts.failure.has_net_bind_service != Some(true)
}

/// The first port that everybody may bind, where it was read.
pub(super) fn start(facts: &Facts<'_>) -> Option<u32> {
    let read_at_call = facts.call().unprivileged_port_start;
    read_at_call.or(facts.failure.environment.unprivileged_port_start)
}

/// What is said where it was not.
pub(super) fn doubt_start(facts: &Facts<'_>, doubts: &mut Vec<String>) {
    if start(facts).is_none() {
        doubts.push(format!(
            "net.ipv4.ip_unprivileged_port_start was not read: its default {DEFAULT_START} was assumed"
        ));
    }
}

fn explain(facts: &Facts<'_>) -> Explanation {
    let process = &facts.call().process;
    let port = facts.port;
    let mut doubts = facts.doubts.clone();
    doubt_start(facts, &mut doubts);
    if facts.failure.has_net_bind_service.is_none() {
        doubts.push(
            "the capabilities of the process were not read: a process that has \
             CAP_NET_BIND_SERVICE can only be refused by a security module"
                .to_owned(),
        );
    }

    let mut fixes = Vec::new();
    let is_interpreted = Language::of(process).is_interpreted();
    if let Some(unit) = Unit::of(process) {
        fixes.push(
            fix(
                "ambient_capability",
                Applies::Now,
                "Grant the service the capability: AmbientCapabilities=CAP_NET_BIND_SERVICE in its [Service] section",
            )
            .command(unit.systemctl("edit")),
        );
    }
    let exe = process.exe.as_deref().and_then(text::shell_word);
    let grant = fix(
        "grant_capability",
        Applies::Now,
        "Grant the program the capability to bind low ports",
    )
    .command(format!(
        "setcap cap_net_bind_service=+ep {}",
        exe.as_deref().unwrap_or("/path/to/program")
    ));
    fixes.push(if is_interpreted {
        grant.why("this is an interpreter: everything that it runs would get the capability, so prefer to grant it to the service")
    } else {
        grant.why("it has to be granted again whenever the file is replaced")
    });
    fixes.push(
        fix(
            "lower_unprivileged_port_start",
            Applies::Now,
            format!("Or let every user bind ports from {port} on"),
        )
        .command(fixes::in_netns(
            facts,
            format!("sysctl -w net.ipv4.ip_unprivileged_port_start={port}"),
        ))
        .why("it concerns every process in this network namespace"),
    );
    fixes.push(fix(
        "other_port",
        Applies::Now,
        format!(
            "Or use a port from {} on, behind a proxy or a redirect",
            start(facts).unwrap_or(DEFAULT_START)
        ),
    ));

    Explanation {
        summary: format!(
            "Ports below {} need CAP_NET_BIND_SERVICE, so {} (user {}) was not allowed to bind \
             port {port}; this is checked first, so the port may be taken besides.",
            start(facts).unwrap_or(DEFAULT_START),
            text::process(process),
            process.uid,
        ),
        fixes,
        doubts,
    }
}
