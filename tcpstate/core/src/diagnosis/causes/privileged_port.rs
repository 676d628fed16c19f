//! `privileged_port`: EACCES below `ip_unprivileged_port_start`.

use crate::event::{Applies, Cause, Errno, Fix, Process, Rights};

use super::listeners::endpoints;
use super::{CauseText, Rule, Verdict};
use crate::diagnosis::command::{AbsolutePath, Command, Setting};
use crate::diagnosis::facts::Facts;
use crate::diagnosis::fixes::fix;
use crate::diagnosis::language::Language;
use crate::diagnosis::roles::{self, Blocker, HolderRole};
use crate::diagnosis::service::Service;
use crate::diagnosis::stop;
use crate::diagnosis::{CallKind, text};

pub(super) const RULE: Rule = Rule {
    cause: Cause::PrivilegedPort,
    applies,
    explain,
};

/// What the kernel starts with.
const DEFAULT_START: u32 = 1024;

fn applies(facts: &Facts<'_>) -> Verdict {
    is_port_rule(facts).into()
}

/// Whether the rule about low ports can be why.
pub(super) fn is_port_rule(facts: &Facts<'_>) -> bool {
    facts.failure.kind == CallKind::Bind
        && facts.errno == Errno::Acces
        && facts.port != 0
        && u32::from(facts.port) < start(facts).unwrap_or(DEFAULT_START)
        && has_net_bind_service(facts) != Some(true)
}

/// Whether the caller had the capability where it counts: in the user namespace that owns
/// the network namespace (`ns_capable` in `inet_bind`); absent: not read.
fn has_net_bind_service(facts: &Facts<'_>) -> Option<bool> {
    let of_question = facts.failure.has_net_bind_service;
    of_question.or_else(|| {
        let rights = facts.call().rights?;
        match (rights.net_bind_service, rights.owns_netns) {
            (true, owns_netns) => owns_netns,
            (false, _) => Some(false),
        }
    })
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

fn explain(facts: &Facts<'_>) -> CauseText {
    let process = &facts.call().process;
    let port = facts.port;
    let mut doubts = facts.doubts.clone();
    doubt_start(facts, &mut doubts);
    if has_net_bind_service(facts).is_none() {
        doubts.push(
            "the capabilities of the process were not read: a process that has \
             CAP_NET_BIND_SERVICE can only be refused by a security module"
                .to_owned(),
        );
    }

    let mut fixes = Vec::new();
    // What else runs in a service would get the capability too.
    let service = Service::of(&[process]).filter(|service| service.is_exclusive);
    if let Some(service) = service {
        fixes.push(
            fix(
                "ambient_capability",
                Applies::Now,
                format!(
                    "Grant the service {} the capability: AmbientCapabilities=CAP_NET_BIND_SERVICE in its [Service] section",
                    service.name.as_str()
                ),
            )
            .run(facts, &Command::edit_unit(&service.name)),
        );
    }
    let grant = grant(facts, process);
    let is_useful = grant.applies != Applies::No;
    if is_useful {
        fixes.push(grant.clone());
    }
    fixes.push(
        fix(
            "lower_unprivileged_port_start",
            Applies::Now,
            if is_useful {
                format!("Or let every user bind ports from {port} on")
            } else {
                format!("Let every user bind ports from {port} on")
            },
        )
        .run(facts, &Command::set(&Setting::UnprivilegedPortStart(port)))
        .because("it concerns every process in this network namespace"),
    );
    if !is_useful {
        fixes.push(grant);
    }
    let behind: Vec<&Blocker<'_>> = facts.behind.iter().collect();
    if !behind.is_empty() {
        fixes.extend(stop::stop_holder(facts, &behind));
    }
    fixes.push(fix(
        "other_port",
        Applies::Now,
        format!(
            "Or use a port from {} on, behind a proxy or a redirect",
            start(facts).unwrap_or(DEFAULT_START)
        ),
    ));

    CauseText {
        summary: format!(
            "Ports below {} need CAP_NET_BIND_SERVICE{}, so {} (user {}) was not allowed to bind \
             port {port}{}.",
            start(facts).unwrap_or(DEFAULT_START),
            match facts.call().rights.and_then(|rights| rights.owns_netns) {
                Some(false) => " in the user namespace that owns the network namespace",
                _ => "",
            },
            text::process(process),
            process.uid,
            besides(facts, &behind),
        ),
        fixes,
        doubts,
    }
}

/// Granting the program the capability; the command names its file only where that
/// is, for whoever pastes it, the file that was running at the call.
fn grant(facts: &Facts<'_>, process: &Process) -> Fix {
    let is_in_vain = facts.call().rights.and_then(|rights| match rights {
        Rights {
            owns_netns: Some(false),
            ..
        } => Some(
            "a capability counts only in the user namespace that owns the network namespace, and \
             this process is in another one",
        ),
        Rights {
            no_new_privs: true, ..
        } => Some("no_new_privs is set, so that an exec ignores the capabilities of a file"),
        _ => None,
    });
    if let Some(why) = is_in_vain {
        return fix(
            "grant_capability",
            Applies::No,
            "Grant the program the capability to bind low ports (setcap)",
        )
        .because(why);
    }
    let grant = fix(
        "grant_capability",
        Applies::Now,
        "Grant the program the capability to bind low ports",
    );
    let here = process.exe.as_deref().filter(|_| process.is_exe_here);
    let grant = match here.and_then(AbsolutePath::parse) {
        Some(program) => grant.run(facts, &Command::grant_low_ports(&program)),
        None => grant.because(
            "setcap cap_net_bind_service=+ep, with the path of the program, which is not given here: \
             what was running at the call could not be shown to be a file that this path names outside of \
             its own view of the file system",
        ),
    };
    if Language::of(process).is_interpreted() {
        grant.because("this is an interpreter: everything that it runs would get the capability, so prefer to grant it to the service")
    } else {
        grant.because("it has to be granted again whenever the file is replaced")
    }
}

/// The capability is asked for before the port is looked at, so a conflict
/// hides behind it.
fn besides(facts: &Facts<'_>, behind: &[&Blocker<'_>]) -> String {
    let Some(first) = behind.first() else {
        return match facts.seen() {
            Some(seen) if seen.is_complete => "; the port itself is free".to_owned(),
            _ => "; this is checked first, so the port may be taken besides".to_owned(),
        };
    };
    let lead = behind.iter().max_by_key(|b| b.role).unwrap_or(first);
    let same: Vec<&Blocker<'_>> = behind
        .iter()
        .filter(|blocker| blocker.role == lead.role)
        .copied()
        .collect();
    let who = roles::names_or_owner(&same);
    let holds = match (lead.role, roles::are_several(&same)) {
        (HolderRole::Listener, false) => format!("{who} listens {}", endpoints(&same)),
        (HolderRole::Listener, true) => format!("{who} listen {}", endpoints(&same)),
        (HolderRole::TimeWait | HolderRole::Closing, _) => format!(
            "{} in {} hold{} it",
            text::count(roles::count(&same), "connection"),
            text::state(lead.seen.state),
            if roles::count(&same) == 1 { "s" } else { "" },
        ),
        (_, false) => format!("{who} has a socket {}", endpoints(&same)),
        (_, true) => format!("{who} have sockets {}", endpoints(&same)),
    };
    format!("; and the port is taken besides: {holds}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::Origin;
    use crate::diagnosis::test_support::{Fixture, PLAIN, holder, owned};
    use crate::event::{Certainty, State, YesNo};

    fn fixture() -> Fixture {
        let mut fixture = Fixture::bind("0.0.0.0", 80).fails(13, "EACCES");
        let mut process = (*fixture.call.process).clone();
        process.uid = 1000;
        process.exe = Some("/opt/my app/caddy".into());
        process.is_exe_here = true;
        fixture.call.process = process.into();
        fixture
    }

    #[test]
    fn a_low_port_needs_the_capability() {
        let mut fixture = fixture();
        fixture.has_net_bind_service = Some(false);
        fixture.call.seen = None;

        let diagnosis = fixture.diagnose();

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
    fn a_port_that_is_taken_besides_is_told_with_its_holder() {
        let free = fixture().diagnose();
        let taken = fixture()
            .with(
                holder(State::Listen, "0.0.0.0", 80, PLAIN),
                owned(12, "nginx", Origin::Listener),
            )
            .diagnose();

        assert!(
            free.summary.ends_with("; the port itself is free."),
            "{}",
            free.summary
        );
        assert_eq!(taken.cause, Cause::PrivilegedPort);
        assert!(
            taken
                .summary
                .ends_with("; and the port is taken besides: nginx[12] listens on 0.0.0.0:80."),
            "{}",
            taken.summary
        );
        assert_eq!(taken.holders.len(), 1);
        assert_eq!(taken.would_work.reuseaddr, YesNo::No);
        assert!(taken.fixes.iter().any(|fix| &*fix.id == "stop_holder"));
    }

    #[test]
    fn unread_capabilities_make_it_likely() {
        assert_eq!(fixture().diagnose().certainty, Certainty::Likely);
    }

    #[test]
    fn a_process_that_has_the_capability_was_refused_by_something_else() {
        let mut fixture = fixture();
        fixture.has_net_bind_service = Some(true);

        assert_eq!(fixture.diagnose().cause, Cause::DeniedByPolicy);
    }

    #[test]
    fn a_capability_that_counts_makes_it_a_matter_of_policy() {
        let with = |net_bind_service, owns_netns| {
            let mut fixture = fixture();
            fixture.call.rights = Some(Rights {
                net_bind_service,
                owns_netns,
                no_new_privs: false,
            });
            fixture.diagnose()
        };

        assert_eq!(with(true, Some(true)).cause, Cause::DeniedByPolicy);
        assert_eq!(with(true, Some(false)).cause, Cause::PrivilegedPort);
        assert_eq!(with(true, None).cause, Cause::PrivilegedPort);
        assert_eq!(with(true, None).certainty, Certainty::Likely);
        assert_eq!(with(false, None).cause, Cause::PrivilegedPort);
    }

    #[test]
    fn setcap_is_not_advised_where_it_does_nothing() {
        let rights = Rights {
            net_bind_service: false,
            owns_netns: Some(true),
            no_new_privs: false,
        };
        for rights in [
            Rights {
                no_new_privs: true,
                ..rights
            },
            Rights {
                owns_netns: Some(false),
                ..rights
            },
        ] {
            let mut fixture = fixture();
            fixture.call.rights = Some(rights);

            let diagnosis = fixture.diagnose();

            assert_eq!(&*diagnosis.fixes[0].id, "lower_unprivileged_port_start");
            let grant = diagnosis
                .fixes
                .iter()
                .find(|fix| &*fix.id == "grant_capability");
            let grant = grant.expect("that it is in vain is said");
            assert_eq!(
                (grant.applies, grant.command.as_deref()),
                (Applies::No, None)
            );
        }
    }
}
