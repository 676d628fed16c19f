//! Would a bind succeed now? The same rule and the same causes as for a call
//! that failed, asked beforehand.

use std::net::IpAddr;
use std::sync::Arc;

use crate::event::{
    Ancestor, Call, Cause, Certainty, Explanation, Family, Identity, Ipv6State, KnownBy, Process,
    Requested, Reuse, Seen, Sock, State, Tried, YesNo,
};

use super::conflict::Forecast;
use super::facts::Facts;
use super::roles::Blocker;
use super::{
    CallKind, Environment, Failure, KnownHolder, causes, conflict, diagnose, hazards, text,
};
use super::{roles, would_work};

/// What somebody wants to know, and what was read for it.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Address that would be bound.
    pub addr: IpAddr,
    /// Port that would be bound.
    pub port: u16,
    /// Family of the socket.
    pub family: Family,
    /// Options of the socket.
    pub reuse: Reuse,
    /// Interface index of its `SO_BINDTODEVICE`.
    pub device: Option<u32>,
    /// User that it belongs to.
    pub uid: u32,
    /// Inode number of the network namespace.
    pub netns: u32,
    /// Whether its process has `CAP_NET_BIND_SERVICE`.
    pub has_net_bind_service: bool,
    /// IPv6 in the namespace, where the address was refused.
    pub ipv6: Option<&'a Ipv6State>,
    /// What the kernel answers to a bind of the address without any port: the
    /// error's number and name; absent: nothing is wrong with the address.
    pub address_error: Option<(u32, &'a str)>,
    /// The sockets on the port; absent: they could not be read.
    pub seen: Option<&'a Seen>,
    /// Settings of the namespace.
    pub environment: &'a Environment,
    /// What the kernel answered when it was tried.
    pub tried: Option<&'a Tried>,
    /// What could not be seen.
    pub missing: &'a [String],
    /// The processes above the one that asks: what they started may end with them.
    pub ancestors: &'a [Ancestor],
}

const EACCES: (u32, &str) = (13, "EACCES");
pub(super) const EADDRINUSE: (u32, &str) = (98, "EADDRINUSE");

/// Answers the question.
#[must_use]
pub fn explain(question: &Question<'_>) -> Explanation {
    let in_use = question.call(EADDRINUSE);
    let known = vec![KnownHolder::default(); question.seen.map_or(0, |seen| seen.holders.len())];
    let in_use = question.failure(&in_use, &known);
    let facts = Facts::new(&in_use);
    let (forecast, error) = question.forecast(&facts);
    let would_serve = forecast.listen;

    let failed = question.call(error);
    let failed = question.failure(&failed, &known);
    let (cause, summary, fixes, certainty, missing) = match would_serve {
        YesNo::Yes => (
            None,
            question.all_clear(&facts),
            Vec::new(),
            question.certainty_of_yes(&facts),
            question.missing.to_vec(),
        ),
        YesNo::Unknown if facts.blockers.is_empty() => (
            Some(Cause::Unknown),
            question.cannot_tell(),
            Vec::new(),
            Certainty::Unknown,
            question.missing.to_vec(),
        ),
        YesNo::No | YesNo::Unknown => {
            let found = diagnose(&failed);
            let summary = match error.1 {
                "EADDRINUSE" if forecast.bind == YesNo::Yes => question.refused_late(&facts),
                "EADDRINUSE" => found.summary,
                name => question.refused_early(name, &facts),
            };
            (
                Some(found.cause),
                summary,
                found.fixes,
                found.certainty,
                found.missing,
            )
        }
    };
    // A refusal that comes before the port is looked at has no holder to blame.
    let is_about_port = would_serve != YesNo::Yes && error == EADDRINUSE;
    let (blockers, others) = split(&facts, is_about_port);
    let caller = &failed.call.process;
    Explanation {
        requested: Requested {
            addr: Some(question.addr),
            port: question.port,
        },
        reuse: question.reuse,
        netns: question.netns,
        uid: question.uid,
        would_bind: forecast.bind,
        would_listen: forecast.listen,
        cause,
        summary,
        holders: blockers.iter().map(|b| b.holder(caller)).collect(),
        others: others.iter().map(|b| b.holder(caller)).collect(),
        clears_ms: is_about_port.then(|| facts.clears_ms()).flatten(),
        would_work: match (would_serve, error) {
            (YesNo::Yes, _) | (_, EADDRINUSE) => would_work::for_question(&facts, would_serve),
            _ => would_work::evaluate(&Facts::new(&failed)),
        },
        fixes,
        hazards: if would_serve == YesNo::Yes {
            hazards::of(&facts)
        } else {
            Vec::new()
        },
        certainty,
        missing,
        tried: question.tried.cloned(),
        waited_ms: None,
    }
}

/// The sockets that stand in the way or may, and the others on the port.
fn split<'a>(facts: &Facts<'a>, is_about_port: bool) -> (Vec<Blocker<'a>>, Vec<Blocker<'a>>) {
    let in_the_way: Vec<Blocker<'a>> = if is_about_port {
        facts
            .blockers
            .iter()
            .chain(&facts.possible)
            .cloned()
            .collect()
    } else {
        Vec::new()
    };
    let is_in_the_way = |seen| {
        in_the_way
            .iter()
            .any(|blocker| std::ptr::eq(blocker.seen, seen))
    };
    let others = facts
        .all_as_blockers()
        .into_iter()
        .filter(|other| !is_in_the_way(other.seen))
        .collect();
    (in_the_way, others)
}

impl Question<'_> {
    /// Would it succeed, and what would the error be if not? In the order in
    /// which the kernel checks: address, privilege, port.
    fn forecast(&self, facts: &Facts<'_>) -> (Forecast, (u32, &str)) {
        let no = Forecast::both(YesNo::No);
        if let Some(tried) = self.tried {
            return match &tried.errno_name {
                _ if tried.ok => (self.after_bind(facts), EADDRINUSE),
                Some(name) if **name != *EADDRINUSE.1 => (no, (0, name)),
                _ => (no, EADDRINUSE),
            };
        }
        if let Some(error) = self.address_error {
            return (no, error);
        }
        let first_free = self.environment.unprivileged_port_start;
        if !self.has_net_bind_service
            && first_free.is_some_and(|start| u32::from(self.port) < start)
        {
            return (no, EACCES);
        }
        (self.by_rule(facts), EADDRINUSE)
    }

    /// What the kernel's rule says about the sockets on the port.
    pub(super) fn by_rule(&self, facts: &Facts<'_>) -> Forecast {
        let Some(binder) = facts.binder.filter(|_| self.seen.is_some()) else {
            return Forecast::both(YesNo::Unknown);
        };
        let sockets: Vec<_> = facts.candidates.iter().map(|c| c.bound).collect();
        conflict::forecast(&binder, &sockets, facts.memory(), facts.is_complete())
    }

    /// A `bind` was let in: `listen` is too, unless the first was so by what the
    /// bucket remembers alone.
    fn after_bind(&self, facts: &Facts<'_>) -> Forecast {
        let rule = self.by_rule(facts);
        match rule.bind {
            YesNo::Yes => rule,
            YesNo::No | YesNo::Unknown => Forecast::both(YesNo::Yes),
        }
    }

    /// The call as it would be.
    pub(super) fn call(&self, (errno, name): (u32, &str)) -> Call {
        Call {
            ok: false,
            errno: (errno != 0).then_some(errno),
            errno_name: Some(name.into()),
            sock: Some(Sock {
                cookie: 0,
                netns: self.netns,
                family: self.family,
            }),
            reuse: self.reuse,
            bound_dev_if: self.device,
            uid: Some(self.uid),
            unprivileged_port_start: self.environment.unprivileged_port_start,
            netns_name: self.environment.netns_name.as_deref().map(Into::into),
            rtnetlink_inode: self.environment.rtnetlink_inode,
            ipv6: self.ipv6.cloned().map(Box::new),
            seen: self.seen.cloned(),
            ..Call::new(
                Requested {
                    addr: Some(self.addr),
                    port: self.port,
                },
                Arc::new(self.new_server()),
            )
        }
    }

    /// Whoever would bind: known by nothing but who asks for it.
    fn new_server(&self) -> Process {
        let identity = Identity {
            ancestors: self.ancestors.to_vec(),
            ..Identity::default()
        };
        Process {
            identity: (!self.ancestors.is_empty()).then(|| Arc::new(identity)),
            ..Process::new(0, self.uid, "a new server", KnownBy::Unknown)
        }
    }

    pub(super) fn failure<'b>(&'b self, call: &'b Call, known: &'b [KnownHolder]) -> Failure<'b> {
        Failure {
            seq: 0,
            kind: CallKind::Bind,
            call,
            known,
            environment: self.environment,
            has_net_bind_service: Some(self.has_net_bind_service),
            last_listener: None,
            missing: self.missing,
            is_question: true,
        }
    }

    fn endpoint(&self) -> String {
        crate::event::Endpoint {
            addr: self.addr,
            port: self.port,
        }
        .to_string()
    }

    fn all_clear(&self, facts: &Facts<'_>) -> String {
        let port = self.port;
        let sockets = facts.all_as_blockers();
        let there: Vec<&Blocker<'_>> = sockets.iter().collect();
        match roles::count(&there) {
            0 => format!("Port {port} is free: bind and listen would succeed."),
            1 => format!(
                "Bind and listen on {} would succeed: one socket is on port {port} ({}), and it \
                 does not stand in the way.",
                self.endpoint(),
                text::state(there.first().map_or(State::Bound, |only| only.seen.state)),
            ),
            count => format!(
                "Bind and listen on {} would succeed: {count} sockets are on port {port}, and \
                 none of them stands in the way.",
                self.endpoint(),
            ),
        }
    }

    /// Let in by `bind`, which does not look at the sockets, and not by `listen`.
    fn refused_late(&self, facts: &Facts<'_>) -> String {
        let in_the_way = match facts.blocker_count() {
            1 => "one socket on the port stands".to_owned(),
            count => format!("{count} sockets on the port stand"),
        };
        format!(
            "Bind on {} would succeed, because all that bound the port had SO_REUSEADDR when they \
             did, but listen would be refused with EADDRINUSE: {in_the_way} in the way.",
            self.endpoint(),
        )
    }

    fn certainty_of_yes(&self, facts: &Facts<'_>) -> Certainty {
        let is_tried = self.tried.is_some_and(|tried| tried.ok);
        if is_tried || (facts.is_complete() && self.missing.is_empty()) {
            Certainty::Proven
        } else {
            Certainty::Likely
        }
    }

    fn cannot_tell(&self) -> String {
        let why = self
            .missing
            .first()
            .map_or_else(String::new, |first| format!(": {first}"));
        format!(
            "Cannot tell whether {} could be bound{why}.",
            self.endpoint()
        )
    }

    /// Refused before the port is looked at.
    fn refused_early(&self, error: &str, facts: &Facts<'_>) -> String {
        let taken = match facts.blocker_count() {
            0 => String::new(),
            1 => "; besides, 1 socket holds the port".to_owned(),
            count => format!("; besides, {count} sockets hold the port"),
        };
        let addr = self.addr;
        match error {
            "EACCES" if self.is_privileged() => format!(
                "Ports below {} need CAP_NET_BIND_SERVICE, which a process of user {} has not, so \
                 bind would be refused with EACCES{taken}.",
                self.environment.unprivileged_port_start.unwrap_or(1024),
                self.uid,
            ),
            "EADDRNOTAVAIL" => {
                let why = causes::why_unusable(addr, self.ipv6).unwrap_or_else(|| {
                    format!("{addr} is on no interface of this network namespace")
                });
                format!(
                    "{why}, so bind would be refused with EADDRNOTAVAIL whatever the port{taken}."
                )
            }
            "EINVAL" if self.reuse.v6only && is_mapped(addr) => format!(
                "{addr} is an IPv4 address, which a socket with IPV6_V6ONLY cannot have, so bind \
                 would be refused with EINVAL whatever the port."
            ),
            error => format!(
                "The kernel refuses to bind {addr} with {} whatever the port{taken}.",
                text::safe(error)
            ),
        }
    }

    fn is_privileged(&self) -> bool {
        let start = self.environment.unprivileged_port_start;
        start.is_none_or(|start| u32::from(self.port) < start)
    }
}

fn is_mapped(addr: IpAddr) -> bool {
    matches!(addr, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some())
}

#[cfg(test)]
#[path = "explain_tests.rs"]
mod tests;
