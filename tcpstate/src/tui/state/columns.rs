//! The columns of the socket table: what each is called and how it sorts.

use std::net::IpAddr;

use crate::event::{Endpoint, Process, State};
use crate::model::Socket;

/// A column of the socket table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Column {
    /// TCP state, who has the port first.
    #[default]
    State,
    /// Local port, then address.
    Local,
    /// Peer port, then address.
    Peer,
    /// Name of the owner.
    Owner,
    /// Youngest first.
    Age,
    /// Least time left first, without a timer last.
    Left,
    /// User of the owner.
    User,
    /// Container or service of the owner.
    Group,
    /// Options that decide who may share the port.
    Options,
    /// Network namespace.
    Netns,
    /// The kernel's cookie of the socket.
    Cookie,
}

impl Column {
    /// All columns.
    pub const ALL: [Self; 11] = [
        Self::State,
        Self::Local,
        Self::Peer,
        Self::Owner,
        Self::Age,
        Self::Left,
        Self::User,
        Self::Group,
        Self::Options,
        Self::Netns,
        Self::Cookie,
    ];

    /// What is shown unless something else was asked for.
    pub const USUAL: [Self; 6] = [
        Self::State,
        Self::Local,
        Self::Peer,
        Self::Owner,
        Self::Age,
        Self::Left,
    ];

    /// The heading.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::State => "STATE",
            Self::Local => "LOCAL",
            Self::Peer => "PEER",
            Self::Owner => "OWNER",
            Self::Age => "AGE",
            Self::Left => "LEFT",
            Self::User => "USER",
            Self::Group => "GROUP",
            Self::Options => "OPTIONS",
            Self::Netns => "NETNS",
            Self::Cookie => "COOKIE",
        }
    }

    /// What it holds, for the list of columns.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::State => "TCP state; sorted by who has the port",
            Self::Local => "address and port on this side",
            Self::Peer => "address and port on the other side",
            Self::Owner => "process that has it, or that left it",
            Self::Age => "time in this state",
            Self::Left => "time until the kernel lets go of it",
            Self::User => "user id of the process",
            Self::Group => "container or control group of the process",
            Self::Options => "SO_REUSEADDR, SO_REUSEPORT, IPV6_V6ONLY",
            Self::Netns => "network namespace, by its inode number",
            Self::Cookie => "the kernel's number of the socket",
        }
    }

    /// Its name in the configuration.
    #[must_use]
    pub fn name(self) -> String {
        self.title().to_lowercase()
    }

    /// The column with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let is_named = |column: &Self| column.title().eq_ignore_ascii_case(name);
        Self::ALL.into_iter().find(is_named)
    }
}

/// Order of the socket table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sort {
    /// By which column.
    pub column: Column,
    /// The other way round.
    pub is_reversed: bool,
}

/// The process that a row names.
pub(crate) fn process_of(socket: &Socket) -> Option<&Process> {
    socket
        .left_by
        .as_ref()
        .or(socket.owner.as_ref())
        .map(|process| &**process)
}

/// Container, else the last part of the control group: the service. Empty: not
/// known.
pub(crate) fn group_of(process: &Process) -> &str {
    match (&process.container, &process.cgroup) {
        (Some(container), _) => container,
        (None, Some(cgroup)) => cgroup.rsplit('/').next().unwrap_or_default(),
        (None, None) => "",
    }
}

/// Primary and secondary key.
pub(crate) type SortKey = (u128, u64);

pub(crate) fn sort_key(column: Column, socket: &Socket) -> SortKey {
    match column {
        Column::State => (
            u128::from(state_rank(socket.state)) << 64
                | u128::from(socket.local.port) << 48
                | latest_first(socket),
            u64::from(socket.peer.port),
        ),
        Column::Local => by_endpoint(socket.local, socket.peer.port),
        Column::Peer => by_endpoint(socket.peer, socket.local.port),
        Column::Owner => by_owner(socket),
        Column::Age => (u128::from(u64::MAX - socket.since_ns), 0),
        Column::Left => (u128::from(socket.expires_at_ns.unwrap_or(u64::MAX)), 0),
        Column::User => match process_of(socket) {
            Some(process) => (u128::from(process.uid), u64::from(process.pid)),
            None => (u128::MAX, 0),
        },
        Column::Group => match process_of(socket).map(group_of) {
            None | Some("") => (u128::MAX, 0),
            Some(group) => (head_of(group), 0),
        },
        Column::Options => {
            let names = socket.reuse.map_or(0, |reuse| reuse.names().len());
            (u128::MAX - names as u128, u64::from(socket.local.port))
        }
        Column::Netns => (u128::from(socket.sock.netns), u64::from(socket.local.port)),
        Column::Cookie => (u128::from(socket.sock.cookie), 0),
    }
}

/// Who has the port comes first, then what lingers on it, then what is alive.
pub(crate) fn state_rank(state: State) -> u8 {
    match state {
        State::Listen => 0,
        State::Bound => 1,
        State::CloseWait => 2,
        State::FinWait1 => 3,
        State::FinWait2 => 4,
        State::Closing => 5,
        State::LastAck => 6,
        State::TimeWait => 7,
        State::SynSent => 8,
        State::SynReceived => 9,
        State::Established => 10,
        State::Closed => 11,
    }
}

/// Within a state: the timer that ends last, for it decides when the port is
/// free; without a timer the youngest.
fn latest_first(socket: &Socket) -> u128 {
    let at_ns = socket.expires_at_ns.unwrap_or(socket.since_ns);
    u128::from((1 << 48) - 1 - low_bits(at_ns))
}

/// Microseconds in 48 bits: nine years of uptime.
fn low_bits(ns: u64) -> u64 {
    (ns / 1_000).min((1 << 48) - 1)
}

fn by_endpoint(endpoint: Endpoint, other_port: u16) -> SortKey {
    let bits = match endpoint.addr {
        IpAddr::V4(addr) => u128::from(addr.to_bits()),
        IpAddr::V6(addr) => addr.to_bits(),
    };
    (
        u128::from(endpoint.port) << 112 | bits >> 16,
        // The sixteen bits that were shifted out, then the other end.
        u64::try_from(bits & 0xffff).unwrap_or(0) << 16 | u64::from(other_port),
    )
}

/// Names of processes have at most fifteen bytes; they fit the key. Unknown last.
fn by_owner(socket: &Socket) -> SortKey {
    let Some(process) = socket.left_by.as_ref().or(socket.owner.as_ref()) else {
        return (u128::MAX, 0);
    };
    (head_of(&process.comm), u64::from(process.pid))
}

/// The first sixteen bytes, in the order of the alphabet.
fn head_of(text: &str) -> u128 {
    let mut bytes = [0; 16];
    for (slot, byte) in bytes.iter_mut().zip(text.bytes()) {
        *slot = byte;
    }
    u128::from_be_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_is_found_by_its_name() {
        for column in Column::ALL {
            assert_eq!(Column::from_name(&column.name()), Some(column));
        }
        assert_eq!(Column::from_name("colour"), None);
    }
}
