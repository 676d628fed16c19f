//! `privileged_port`: EACCES below `ip_unprivileged_port_start`.

use crate::event::{Applies, Cause};

use super::{Answer, Explanation, Rule};
use crate::diagnosis::facts::{Errno, Facts};
use crate::diagnosis::fixes::{self, fix};
use crate::diagnosis::language::Language;
use crate::diagnosis::stop::Unit;
use crate::diagnosis::{CallKind, text};

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::test_support::Scene;
    use crate::event::{Certainty, YesNo};

    fn scene() -> Scene {
        let mut scene = Scene::bind("0.0.0.0", 80).fails(13, "EACCES");
        let mut process = (*scene.call.process).clone();
        process.uid = 1000;
        process.exe = Some("/opt/my app/caddy".into());
        scene.call.process = process.into();
        scene
    }

    #[test]
    fn a_low_port_needs_the_capability() {
        let mut scene = scene();
        scene.has_net_bind_service = Some(false);

        let diagnosis = scene.diagnose();

        assert_eq!(diagnosis.cause, Cause::PrivilegedPort);
        assert_eq!(
            diagnosis.summary,
            "Ports below 1024 need CAP_NET_BIND_SERVICE, so server[900] (user 1000) was not allowed to bind port 80; this is checked first, so the port may be taken besides."
        );
        assert_eq!(diagnosis.certainty, Certainty::Proven);
        assert_eq!(diagnosis.would_work.reuseaddr, YesNo::No);
        assert_eq!(
            diagnosis.fixes[0].command.as_deref(),
            Some("setcap cap_net_bind_service=+ep '/opt/my app/caddy'")
        );
    }

    #[test]
    fn unread_capabilities_make_it_likely() {
        assert_eq!(scene().diagnose().certainty, Certainty::Likely);
    }

    #[test]
    fn a_process_that_has_the_capability_was_refused_by_something_else() {
        let mut scene = scene();
        scene.has_net_bind_service = Some(true);

        assert_eq!(scene.diagnose().cause, Cause::DeniedByPolicy);
    }
}
