//! Where a command has to run: in the network namespace of the failed call,
//! wherever a terminal is that it is pasted into.

use super::word::NetnsName;
use crate::diagnosis::facts::Facts;
use crate::event::Effect;

/// The network namespace of a failed call, and how it is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::diagnosis) enum CommandNetns {
    /// The one that the observer runs in.
    Own(NetnsIdentity),
    /// Another one, which `ip netns` has a name for.
    Named(NetnsName),
    /// Another one, by its numbers.
    Other(NetnsIdentity),
    /// It was not read.
    Unknown,
}

/// What identifies a network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::diagnosis) struct NetnsIdentity {
    /// Its own inode number, which the kernel gives to the next one once it is gone.
    netns: u32,
    /// Inode number of the kernel's rtnetlink socket in it, from a counter that goes
    /// on through the boot; absent: not read.
    rtnetlink: Option<u64>,
}

/// Runs the words behind the numbers only in the namespace with these numbers.
const STAY: &str = r#"[ $(awk "\$2\$3==\"00\"{print\$10}" /proc/self/net/netlink) = ${0#*.} ] && exec "$@"; ! echo not in netns $0"#;

/// Runs the words behind the numbers in the namespace with these numbers, if there
/// is one. The namespace is opened first and compared then, so that what is
/// entered is what was compared: the thread that led to it may have ended, and
/// its number may be another's.
const ENTER: &str = r#"n=$(find -L /proc/[0-9]*/task/[0-9]*/ns/net -inum ${0%.*} -print -quit 2>/dev/null); [ "$n" ] && exec 9<"$n" && [ $(stat -Lc%i /proc/self/fd/9).$(awk "\$2\$3==\"00\"{print\$10}" ${n%ns/net}net/netlink) = $0 ] && exec nsenter --net=/proc/self/fd/9 "$@"; ! echo no netns $0"#;

impl CommandNetns {
    pub(in crate::diagnosis) fn of(facts: &Facts<'_>) -> Self {
        let Some(netns) = facts.call().sock.map(|sock| sock.netns).filter(|n| *n != 0) else {
            return Self::Unknown;
        };
        let environment = facts.failure.environment;
        let identity = NetnsIdentity {
            netns,
            rtnetlink: environment.rtnetlink_inode,
        };
        if environment.own_netns == Some(netns) {
            return Self::Own(identity);
        }
        let name = environment.netns_name.as_deref();
        match name.and_then(NetnsName::parse) {
            Some(name) => Self::Named(name),
            None => Self::Other(identity),
        }
    }

    /// A line of words that are quoted already, as it has to be pasted; `None`:
    /// nobody could say where.
    ///
    /// What only shows something is left bare where it was asked for: run
    /// elsewhere it shows something else, and harms nobody.
    pub(super) fn line(&self, words: &str, effect: Effect) -> Option<String> {
        let script = match (self, effect) {
            (Self::Own(_), Effect::Reads) => return Some(words.to_owned()),
            (Self::Named(name), _) => {
                return Some(format!("ip netns exec {} {words}", name.as_str()));
            }
            (Self::Own(_), _) => STAY,
            (Self::Other(_), _) => ENTER,
            (Self::Unknown, _) => return None,
        };
        let (Self::Own(identity) | Self::Other(identity)) = self else {
            return None;
        };
        let NetnsIdentity { netns, rtnetlink } = identity;
        Some(format!(
            "sh -c '{script}' {netns}.{} {words}",
            (*rtnetlink)?
        ))
    }

    /// As `tcpstate` takes it for its `--netns`; `None`: its own.
    pub(super) fn argument(&self) -> Option<String> {
        match self {
            Self::Own(_) | Self::Unknown => None,
            Self::Named(name) => Some(name.as_str().to_owned()),
            Self::Other(identity) => Some(identity.netns.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::command::Command;
    use crate::diagnosis::test_support::{Fixture, NETNS, here};

    /// The lines of a command that changes something and of one that looks.
    fn lines(fixture: &Fixture) -> [Option<String>; 2] {
        fixture.with_failure(|failure| {
            let facts = Facts::new(failure);
            let change = Command::set(&crate::diagnosis::command::Setting::TwReuse);
            [change, Command::list_all_sockets()].map(|command| command.line(&facts))
        })
    }

    #[test]
    fn what_changes_something_looks_where_it_is() {
        let [change, check] = lines(&Fixture::bind("0.0.0.0", 8080));

        assert_eq!(change, Some(here("sysctl -w net.ipv4.tcp_tw_reuse=1")));
        assert_eq!(check.as_deref(), Some("ss -tan"));
    }

    #[test]
    fn another_namespace_is_entered_by_its_name_or_its_number() {
        let mut fixture = Fixture::bind("0.0.0.0", 8080);
        fixture.environment.own_netns = Some(1);
        let by_number = lines(&fixture);
        fixture.environment.own_netns = None;
        let own_unknown = lines(&fixture);
        fixture.environment.netns_name = Some("blue".to_owned());
        let by_name = lines(&fixture);
        for hostile in ["-a", "..", "a b", "a;b", "$(x)", "a/b", "\u{1b}"] {
            fixture.environment.netns_name = Some(hostile.to_owned());
            assert_eq!(lines(&fixture), by_number, "{hostile:?}");
        }

        for line in by_number.iter().flatten() {
            assert!(line.contains(&format!(" {NETNS}.4 s")), "{line}");
            assert!(
                line.contains("exec nsenter --net=/proc/self/fd/9"),
                "{line}"
            );
        }
        assert_eq!(own_unknown, by_number);
        assert_eq!(
            by_name.map(Option::unwrap_or_default),
            [
                "ip netns exec blue sysctl -w net.ipv4.tcp_tw_reuse=1",
                "ip netns exec blue ss -tan"
            ]
        );
    }

    #[test]
    fn an_unknown_namespace_gets_no_command() {
        let mut fixture = Fixture::bind("0.0.0.0", 8080);
        fixture.call.sock = None;

        assert_eq!(lines(&fixture), [None, None]);
    }

    #[test]
    fn a_number_that_may_be_another_namespaces_by_now_gets_no_command() {
        let mut fixture = Fixture::bind("0.0.0.0", 8080);
        fixture.environment.rtnetlink_inode = None;
        let [change, check] = lines(&fixture);
        fixture.environment.own_netns = None;

        assert_eq!((change, check.as_deref()), (None, Some("ss -tan")));
        assert_eq!(lines(&fixture), [None, None]);
    }
}
