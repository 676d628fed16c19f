//! The fields that records share, as bytes, into typed values.

use std::net::{Ipv4Addr, Ipv6Addr};

use tcpstate_common::record::{
    AF_INET, AF_INET6, ProgramWire, SharingWire, SocketWire, sharing as mode, socket_flags,
};
use zerocopy::{FromBytes, Immutable, KnownLayout};

use super::DecodeError;
use crate::event::{Endpoint, Family, FileId, Requested, Reuse, Sharing, Sock, State};

/// Identity and addresses of a socket.
pub(super) struct Endpoints {
    pub(super) sock: Sock,
    pub(super) local: Endpoint,
    pub(super) peer: Endpoint,
}

impl Endpoints {
    pub(super) fn of(wire: &SocketWire) -> Result<Self, DecodeError> {
        let family = family(wire.family)?;
        Ok(Self {
            sock: Sock {
                cookie: wire.cookie,
                netns: wire.netns,
                family,
            },
            local: Endpoint {
                addr: family.address(wire.local_addr),
                port: wire.local_port,
            },
            peer: Endpoint {
                addr: family.address(wire.peer_addr),
                port: wire.peer_port,
            },
        })
    }
}

pub(super) fn view<T: FromBytes + KnownLayout + Immutable>(
    bytes: &[u8],
    kind: u16,
) -> Result<&T, DecodeError> {
    T::ref_from_prefix(bytes)
        .map(|(record, _)| record)
        .map_err(|_| DecodeError::Short {
            kind,
            len: bytes.len(),
            want: size_of::<T>(),
        })
}

pub(super) fn unknown(field: &'static str, value: impl Into<u64>) -> DecodeError {
    DecodeError::Value {
        field,
        value: value.into(),
    }
}

pub(super) fn state(field: &'static str, raw: u8) -> Result<State, DecodeError> {
    State::from_raw(raw).ok_or_else(|| unknown(field, raw))
}

pub(super) fn reuse(flags: u8) -> Reuse {
    Reuse {
        reuseaddr: flags & (socket_flags::REUSEADDR | socket_flags::FORCE_REUSE) != 0,
        reuseport: flags & socket_flags::REUSEPORT != 0,
        v6only: flags & socket_flags::V6ONLY != 0,
    }
}

/// Whom a bucket lets in; `None`: nobody.
pub(super) fn sharing(wire: &SharingWire) -> Option<Sharing> {
    let SharingWire {
        addr,
        uid,
        family: raw_family,
        mode,
        v6only,
    } = wire;
    let family = family(*raw_family).ok()?;
    let addr = match *mode {
        mode::ANY_ADDRESS => None,
        mode::SAME_ADDRESS => Some(family.address(*addr)),
        _ => return None,
    };
    Some(Sharing {
        uid: *uid,
        family,
        addr,
        v6only: *v6only != 0,
    })
}

/// Nanoseconds of a clock tick as `/proc` counts them (`USER_HZ`, 100 a second on x86
/// and arm64).
const TICK_NS: u64 = 10_000_000;
/// Bits of a device number that are its minor number (`MINORBITS`).
const MINOR_BITS: u32 = 20;

/// When a process started, in ticks, and which file its program is.
pub(super) fn program(wire: &ProgramWire) -> (Option<u64>, Option<FileId>) {
    let ProgramWire {
        start_boottime,
        inode,
        dev,
        reserved: _,
    } = wire;
    let file = FileId {
        dev_major: dev >> MINOR_BITS,
        dev_minor: dev & ((1 << MINOR_BITS) - 1),
        inode: *inode,
    };
    (
        (*start_boottime != 0).then_some(start_boottime / TICK_NS),
        (*inode != 0).then_some(file),
    )
}

fn family(raw: u16) -> Result<Family, DecodeError> {
    match raw {
        AF_INET => Ok(Family::Ipv4),
        AF_INET6 => Ok(Family::Ipv6),
        value => Err(unknown("family", value)),
    }
}

/// `struct sockaddr_in` or `sockaddr_in6`, as the caller gave it.
pub(super) fn requested_address(bytes: &[u8; 28], addr_len: u16) -> Requested {
    let family = u16::from_ne_bytes([bytes[0], bytes[1]]);
    let port = u16::from_be_bytes([bytes[2], bytes[3]]);
    let addr = match family {
        AF_INET if addr_len >= 16 => {
            Some(Ipv4Addr::new(bytes[4], bytes[5], bytes[6], bytes[7]).into())
        }
        AF_INET6 if addr_len >= 24 => {
            let mut addr = [0; 16];
            addr.copy_from_slice(&bytes[8..24]);
            Some(Ipv6Addr::from(addr).into())
        }
        _ => None,
    };
    Requested { addr, port }
}
