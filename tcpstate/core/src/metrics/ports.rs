//! Which ports have series of their own: those that are configured, and those that somebody
//! listens on, as far as there is room. Nobody takes the room of others: what one user listens
//! on has a part of it, and root's services have the rest.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Ports that have series beside those that are configured.
pub const MAX_PORTS: usize = 128;
/// Of these, ports of one user who is not root; all those whose user is not known count as one.
pub const MAX_PORTS_OF_A_USER: usize = 16;
/// And those of all such users.
const MAX_PORTS_OF_USERS: usize = MAX_PORTS / 2;

/// The value of the label `port`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum PortLabel {
    Port(u16),
    Other,
}

impl fmt::Display for PortLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(port) => port.fmt(f),
            Self::Other => f.write_str("other"),
        }
    }
}

/// Who counts for a port that was admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Root,
    /// `None`: not known.
    User(Option<u32>),
}

impl Owner {
    fn of(uid: Option<u32>) -> Self {
        if uid == Some(0) {
            Self::Root
        } else {
            Self::User(uid)
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct PortLabels {
    configured: BTreeSet<u16>,
    /// With whose they are, and the order in which they were listened on last.
    admitted: BTreeMap<u16, (Owner, u64)>,
    next: u64,
}

impl PortLabels {
    pub(super) fn new(configured: impl IntoIterator<Item = u16>) -> Self {
        Self {
            configured: configured.into_iter().collect(),
            admitted: BTreeMap::new(),
            next: 0,
        }
    }

    pub(super) fn label(&self, port: u16) -> PortLabel {
        if self.configured.contains(&port) || self.admitted.contains_key(&port) {
            PortLabel::Port(port)
        } else {
            PortLabel::Other
        }
    }

    /// Somebody listens there. Gives the port whose place it takes: the one that nobody has
    /// listened on for longest.
    pub(super) fn admit(
        &mut self,
        port: u16,
        uid: Option<u32>,
        is_served: impl Fn(u16) -> bool,
    ) -> Option<u16> {
        if port == 0 || self.configured.contains(&port) {
            return None;
        }
        let owner = Owner::of(uid);
        self.next += 1;
        let next = self.next;
        if let Some((before, latest)) = self.admitted.get_mut(&port) {
            // A port that a user had first stays his, and cannot be taken from root.
            if owner == Owner::Root {
                *before = owner;
            }
            *latest = next;
            return None;
        }
        let shares = |other: Owner| match owner {
            Owner::Root => true,
            Owner::User(_) => other == owner,
        };
        let of_users = || {
            let owners = self.admitted.values();
            owners.filter(|(owner, _)| *owner != Owner::Root).count()
        };
        let own = self.admitted.values().filter(|(owner, _)| shares(*owner));
        let has_room = match owner {
            Owner::Root => self.admitted.len() < MAX_PORTS,
            Owner::User(_) => {
                own.count() < MAX_PORTS_OF_A_USER
                    && of_users() < MAX_PORTS_OF_USERS
                    && self.admitted.len() < MAX_PORTS
            }
        };
        let mut evicted = None;
        if !has_room {
            let mut own: Vec<(u64, u16)> = self
                .admitted
                .iter()
                .filter(|(_, (owner, _))| shares(*owner))
                .map(|(port, (_, latest))| (*latest, *port))
                .collect();
            own.sort_unstable();
            let (_, oldest) = own.into_iter().find(|(_, port)| !is_served(*port))?;
            self.admitted.remove(&oldest);
            evicted = Some(oldest);
        }
        self.admitted.insert(port, (owner, next));
        evicted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: Option<u32> = Some(0);

    fn labels(labels: &PortLabels) -> usize {
        let ports = (0..=u16::MAX).filter(|port| labels.label(*port) != PortLabel::Other);
        ports.count()
    }

    #[test]
    fn a_port_has_a_label_when_it_is_configured_or_listened_on() {
        let mut ports = PortLabels::new([443]);
        assert_eq!(ports.label(443), PortLabel::Port(443));
        assert_eq!(ports.label(8080), PortLabel::Other);

        assert_eq!(ports.admit(8080, ROOT, |_| true), None);

        assert_eq!(ports.label(8080), PortLabel::Port(8080));
        assert_eq!(ports.label(8080).to_string(), "8080");
        assert_eq!(ports.label(0).to_string(), "other");
    }

    #[test]
    fn who_listens_on_every_port_gets_his_part() {
        let mut ports = PortLabels::new([443]);
        for port in 1..=u16::MAX {
            ports.admit(port, Some(1000), |_| true);
        }
        assert_eq!(labels(&ports), 1 + MAX_PORTS_OF_A_USER);
        for port in 1..=u16::MAX {
            ports.admit(port, Some(u32::from(port)), |_| true);
            ports.admit(port, None, |_| true);
        }
        assert_eq!(labels(&ports), 1 + MAX_PORTS_OF_USERS);
        for port in 1..=u16::MAX {
            ports.admit(port, ROOT, |_| true);
        }
        assert_eq!(labels(&ports), 1 + MAX_PORTS);
    }

    #[test]
    fn a_port_that_nobody_listens_on_any_more_gives_way() {
        let mut ports = PortLabels::new([]);
        for port in 1..=MAX_PORTS {
            ports.admit(u16::try_from(port).expect("small"), ROOT, |_| true);
        }
        ports.admit(1, ROOT, |_| true);

        assert_eq!(ports.admit(9000, ROOT, |_| true), None);
        assert_eq!(ports.label(9000), PortLabel::Other);
        // Of 1 and 2 the second was listened on before.
        assert_eq!(ports.admit(9000, ROOT, |port| port > 2), Some(2));
        assert_eq!(ports.label(9000), PortLabel::Port(9000));
    }

    #[test]
    fn a_user_takes_no_place_of_another_one() {
        let mut ports = PortLabels::new([]);
        ports.admit(80, ROOT, |_| true);
        for port in 1000..1100 {
            ports.admit(port, Some(1000), |_| false);
        }

        assert_eq!(labels(&ports), 1 + MAX_PORTS_OF_A_USER);
        assert_eq!(ports.label(80), PortLabel::Port(80));
    }
}
