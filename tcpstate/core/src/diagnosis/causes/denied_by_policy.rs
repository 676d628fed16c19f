//! `denied_by_policy`: EPERM or EACCES that no port rule explains.

use crate::event::{Applies, Cause, Endpoint, Errno};

use super::privileged_port::{doubt_start, is_port_rule};
use super::{CauseText, Rule, Verdict};
use crate::diagnosis::command::Command;
use crate::diagnosis::facts::Facts;
use crate::diagnosis::fixes::fix;
use crate::diagnosis::{CallKind, text};

pub(super) const RULE: Rule = Rule {
    cause: Cause::DeniedByPolicy,
    applies,
    explain,
};

fn applies(facts: &Facts<'_>) -> Verdict {
    (matches!(facts.errno, Errno::Perm | Errno::Acces) && !is_port_rule(facts)).into()
}

fn explain(facts: &Facts<'_>) -> CauseText {
    let is_connect = facts.failure.kind == CallKind::Connect;
    let mut doubts = facts.doubts.clone();
    if facts.errno == Errno::Acces && facts.failure.kind == CallKind::Bind && facts.port != 0 {
        doubt_start(facts, &mut doubts);
    }
    let (errno, firewall) = match facts.errno {
        Errno::Perm if is_connect => ("EPERM", ", or a firewall rule for outgoing packets"),
        Errno::Perm => ("EPERM", ""),
        Errno::Acces if is_connect => ("EACCES", ", or a route of type prohibit"),
        _ => ("EACCES", ""),
    };
    let what = match (facts.failure.kind, facts.port) {
        (CallKind::Connect, _) => match facts.call().requested.addr {
            Some(addr) => {
                let port = facts.call().requested.port;
                format!("the connect to {}", Endpoint { addr, port })
            }
            None => "the connect".to_owned(),
        },
        (_, 0) => format!("the {}", facts.verb()),
        (_, port) => format!("the {} on port {port}", facts.verb()),
    };

    let mut fixes = vec![
        fix(
            "check_audit_log",
            Applies::Now,
            "Look for the denial in the audit log and allow it in the policy",
        )
        .run(facts, &Command::search_audit_log())
        .because("SELinux and AppArmor log what they refuse; Landlock from Linux 6.15 on"),
        fix(
            "check_cgroup_programs",
            Applies::Now,
            match facts.call().process.cgroup.as_deref() {
                Some(path) => format!(
                    "Look for BPF programs on the control group of the process, {}, and on those above it",
                    text::safe(path)
                ),
                None => "Look for BPF programs on the control group of the process".to_owned(),
            },
        )
        .run(facts, &Command::list_cgroup_programs())
        .because("systemd's SocketBindDeny=, IPAddressDeny= and container managers put them there; they leave no log"),
    ];
    if is_connect {
        fixes.push(
            fix(
                "check_firewall",
                Applies::Now,
                "Look for a rule that rejects outgoing packets",
            )
            .run(facts, &Command::list_firewall_rules()),
        );
    }

    CauseText {
        summary: format!(
            "A policy refused {} {what} ({errno}), not a rule about ports: a security module \
             (SELinux, AppArmor, Landlock) or a BPF program on its control group{firewall}.",
            text::process(&facts.call().process),
        ),
        fixes,
        doubts,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::test_support::Fixture;
    use crate::event::{Certainty, YesNo};

    #[test]
    fn eperm_is_no_port_rule() {
        let diagnosis = Fixture::bind("0.0.0.0", 8080).fails(1, "EPERM").diagnose();

        assert_eq!(diagnosis.cause, Cause::DeniedByPolicy);
        assert_eq!(
            diagnosis.summary,
            "A policy refused server[900] the bind on port 8080 (EPERM), not a rule about ports: a security module (SELinux, AppArmor, Landlock) or a BPF program on its control group."
        );
        assert_eq!(diagnosis.certainty, Certainty::Proven);
        assert_eq!(diagnosis.would_work.reuseport, YesNo::No);
    }

    #[test]
    fn eacces_is_one_only_below_the_first_free_port() {
        let cause = |port| {
            let fixture = Fixture::bind("0.0.0.0", port).fails(13, "EACCES");
            fixture.diagnose().cause
        };

        assert_eq!(cause(1023), Cause::PrivilegedPort);
        assert_eq!(cause(1024), Cause::DeniedByPolicy);
        assert_eq!(cause(0), Cause::DeniedByPolicy);
    }
}
