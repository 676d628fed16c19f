//! The addresses of the matrix, and what an address means to another one.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What a socket is bound to. `V6Any` and `Dual` differ in `IPV6_V6ONLY` only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Addr {
    Any,
    Lo1,
    Lo2,
    /// The address of the other interface.
    Other,
    Dual,
    V6Any,
    V6Lo,
    MappedLo1,
    MappedAny,
}

impl Addr {
    /// Every address that all of the matrix can use.
    pub(crate) const ALL: [Self; 8] = [
        Self::Any,
        Self::Lo1,
        Self::Lo2,
        Self::Dual,
        Self::V6Any,
        Self::V6Lo,
        Self::MappedLo1,
        Self::MappedAny,
    ];

    pub(crate) fn ip(self) -> IpAddr {
        let lo1 = Ipv4Addr::LOCALHOST;
        match self {
            Self::Any => Ipv4Addr::UNSPECIFIED.into(),
            Self::Lo1 => lo1.into(),
            Self::Lo2 => Ipv4Addr::new(127, 0, 0, 2).into(),
            Self::Other => Ipv4Addr::new(10, 77, 0, 1).into(),
            Self::Dual | Self::V6Any => Ipv6Addr::UNSPECIFIED.into(),
            Self::V6Lo => Ipv6Addr::LOCALHOST.into(),
            Self::MappedLo1 => lo1.to_ipv6_mapped().into(),
            Self::MappedAny => Ipv4Addr::UNSPECIFIED.to_ipv6_mapped().into(),
        }
    }

    pub(crate) fn at(self, port: u16) -> SocketAddr {
        SocketAddr::new(self.ip(), port)
    }

    pub(crate) fn is_ipv6(self) -> bool {
        self.ip().is_ipv6()
    }

    pub(crate) fn is_v6only(self) -> bool {
        self == Self::V6Any
    }
}

impl fmt::Display for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Any => "0.0.0.0",
            Self::Lo1 => "127.0.0.1",
            Self::Lo2 => "127.0.0.2",
            Self::Other => "10.77.0.1",
            Self::Dual => "[::]",
            Self::V6Any => "[::]v6only",
            Self::V6Lo => "[::1]",
            Self::MappedLo1 => "[::ffff:127.0.0.1]",
            Self::MappedAny => "[::ffff:0.0.0.0]",
        })
    }
}

/// Where the other end of a connection is: on IPv4 or on IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Via {
    V4,
    V6,
}

impl Via {
    /// The address that a client reaches a socket on `addr` by.
    pub(crate) fn target(self, addr: Addr) -> IpAddr {
        match (addr, self) {
            (Addr::Lo2 | Addr::Other, _) => addr.ip(),
            (_, Self::V4) => Addr::Lo1.ip(),
            (_, Self::V6) => Addr::V6Lo.ip(),
        }
    }

    /// The address that a client on `addr` calls for a server on both
    /// families.
    pub(crate) fn server(self, addr: Addr) -> IpAddr {
        match self {
            Self::V6 => Addr::V6Lo.ip(),
            Self::V4 if addr.is_ipv6() => Addr::MappedLo1.ip(),
            Self::V4 => Addr::Lo1.ip(),
        }
    }
}

/// How the address that was asked for meets a holder's, in the words of
/// `docs/events.md`. Only asked of those that the kernel says do meet.
pub(crate) fn overlap(asked: IpAddr, held: IpAddr) -> &'static str {
    let is_ipv4 = |addr: IpAddr| addr.to_canonical().is_ipv4();
    match (is_ipv4(asked), is_ipv4(held)) {
        (true, true) | (false, false) if asked.to_canonical() == held.to_canonical() => "exact",
        (true, true) | (false, false) => "wildcard",
        // Both sockets are IPv6 ones: no IPv4 socket is concerned.
        _ if asked.is_ipv6() && held.is_ipv6() => "wildcard",
        _ => "dual_stack",
    }
}
