//! How a question about one socket is laid out (`linux/inet_diag.h`, `linux/netlink.h`).

use std::net::IpAddr;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::event::{Endpoint, Family};

pub(crate) const NLMSG_ERROR: u16 = 2;
pub(crate) const NLM_F_REQUEST: u16 = 1;
pub(crate) const AF_INET: u8 = 2;
pub(crate) const AF_INET6: u8 = 10;
const IPPROTO_TCP: u8 = 6;

/// `struct nlmsghdr`.
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub(crate) struct MessageHeader {
    pub(crate) len: u32,
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) sequence: u32,
    pub(crate) port: u32,
}

/// `struct inet_diag_sockid`.
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub(crate) struct InetDiagSockId {
    pub(crate) source_port: [u8; 2],
    pub(crate) destination_port: [u8; 2],
    pub(crate) source: [u8; 16],
    pub(crate) destination: [u8; 16],
    pub(crate) interface: u32,
    pub(crate) cookie: [u32; 2],
}

/// `struct inet_diag_req_v2`, with its header.
#[repr(C)]
#[derive(IntoBytes, Immutable, KnownLayout)]
pub(crate) struct InetDiagRequest {
    pub(crate) header: MessageHeader,
    pub(crate) family: u8,
    pub(crate) protocol: u8,
    pub(crate) extensions: u8,
    pub(crate) padding: u8,
    pub(crate) states: u32,
    pub(crate) id: InetDiagSockId,
}

impl InetDiagSockId {
    /// The socket with these addresses and, unless it is 0, this cookie.
    pub(crate) fn new(local: Endpoint, peer: Endpoint, interface: u32, cookie: u64) -> Self {
        Self {
            source_port: local.port.to_be_bytes(),
            destination_port: peer.port.to_be_bytes(),
            source: address_bytes(local.addr),
            destination: address_bytes(peer.addr),
            interface,
            cookie: if cookie == 0 {
                [u32::MAX; 2]
            } else {
                [low(cookie), low(cookie >> 32)]
            },
        }
    }
}

impl InetDiagRequest {
    /// A message of this kind.
    pub(crate) fn new(
        kind: u16,
        flags: u16,
        sequence: u32,
        family: u8,
        states: u32,
        id: InetDiagSockId,
    ) -> Self {
        Self {
            header: MessageHeader {
                len: u32::try_from(size_of::<Self>()).unwrap_or(u32::MAX),
                kind,
                flags,
                sequence,
                port: 0,
            },
            family,
            protocol: IPPROTO_TCP,
            extensions: 0,
            padding: 0,
            states,
            id,
        }
    }
}

/// `AF_INET` or `AF_INET6`.
pub(crate) fn family(family: Family) -> u8 {
    match family {
        Family::Ipv4 => AF_INET,
        Family::Ipv6 => AF_INET6,
    }
}

fn low(value: u64) -> u32 {
    u32::try_from(value & u64::from(u32::MAX)).unwrap_or(0)
}

fn address_bytes(addr: IpAddr) -> [u8; 16] {
    match addr {
        IpAddr::V4(addr) => {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&addr.octets());
            bytes
        }
        IpAddr::V6(addr) => addr.octets(),
    }
}
