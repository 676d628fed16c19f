//! Sockets as the kernel has them: full sockets, requests, mini-sockets. All
//! three begin with `struct sock_common`; only a full socket goes on as
//! `struct sock`.

use core::mem::MaybeUninit;

use aya_ebpf::helpers::generated::bpf_jiffies64;
use tcpstate_common::{
    offsets::{BitField, MISSING, SOCK_COMMON_LEN},
    record::{AF_INET6, SocketWire, socket_flags},
};

use crate::{
    error::Skip,
    globals::{config, offset},
    memory::{Addr, Typed, read, read_into},
};

/// TCP states, as `enum` in `include/net/tcp_states.h`.
pub(crate) mod state {
    pub(crate) const ESTABLISHED: u8 = 1;
    pub(crate) const SYN_SENT: u8 = 2;
    pub(crate) const SYN_RECV: u8 = 3;
    pub(crate) const FIN_WAIT1: u8 = 4;
    pub(crate) const FIN_WAIT2: u8 = 5;
    pub(crate) const TIME_WAIT: u8 = 6;
    pub(crate) const CLOSE: u8 = 7;
    pub(crate) const CLOSE_WAIT: u8 = 8;
    pub(crate) const LAST_ACK: u8 = 9;
    pub(crate) const LISTEN: u8 = 10;
    pub(crate) const CLOSING: u8 = 11;
    pub(crate) const NEW_SYN_RECV: u8 = 12;
}

/// `IPPROTO_TCP`; MPTCP subflows have it too.
pub(crate) const IPPROTO_TCP: u16 = 6;

const REUSEPORT_BIT: u32 = socket_flags::REUSEPORT.trailing_zeros();
const V6ONLY_BIT: u32 = socket_flags::V6ONLY.trailing_zeros();

const WORDS: usize = SOCK_COMMON_LEN as usize / 8;

/// A copy of a socket's `struct sock_common`.
pub(crate) struct Common(MaybeUninit<[u64; WORDS]>);

impl Common {
    /// Holds nothing yet; [`fill`](Self::fill) it before anything else.
    #[inline(always)]
    pub(crate) const fn empty() -> Self {
        Self(MaybeUninit::uninit())
    }

    /// Copies the head of the socket at `sk`.
    #[inline(always)]
    pub(crate) fn fill(&mut self, sk: Addr) -> Result<(), Skip> {
        // SAFETY: the buffer is `SOCK_COMMON_LEN` bytes long.
        unsafe { read_into::<SOCK_COMMON_LEN>(self.0.as_mut_ptr().cast(), sk) }
    }
}

impl SockCommon for Common {
    /// User space has checked that every field of `sock_common` lies inside the
    /// copy; the verifier checks it again.
    #[inline(always)]
    fn field<T: Copy>(&self, offset: u32) -> T {
        let start = self.0.as_ptr().cast::<u8>();
        // SAFETY: inside the copy, which `fill` has written.
        unsafe { start.add(offset as usize).cast::<T>().read_unaligned() }
    }
}

/// A socket that a tracepoint passes with its type.
impl SockCommon for Typed {
    #[inline(always)]
    fn field<T: Copy>(&self, offset: u32) -> T {
        self.load(offset)
    }
}

/// What a `struct sock_common` says.
pub(crate) trait SockCommon {
    /// The field at `offset`.
    fn field<T: Copy>(&self, offset: u32) -> T;

    /// Sixteen bytes, in two loads.
    #[inline(always)]
    fn pair(&self, offset: u32) -> [u64; 2] {
        [self.field(offset), self.field(offset + 8)]
    }

    #[inline(always)]
    fn bits(&self, field: BitField) -> u8 {
        (self.field::<u8>(field.offset) >> field.shift) & field.mask
    }

    #[inline(always)]
    fn state(&self) -> u8 {
        self.field(offset!(skc_state))
    }

    #[inline(always)]
    fn family(&self) -> u16 {
        self.field(offset!(skc_family))
    }

    /// Local port; 0 once the socket has given it back.
    #[inline(always)]
    fn local_port(&self) -> u16 {
        self.field(offset!(skc_num))
    }

    #[inline(always)]
    fn peer_port(&self) -> u16 {
        u16::from_be(self.field(offset!(skc_dport)))
    }

    #[inline(always)]
    fn net(&self) -> Addr {
        self.field(offset!(skc_net))
    }

    #[inline(always)]
    fn cookie(&self) -> u64 {
        self.field(offset!(skc_cookie))
    }

    #[inline(always)]
    fn bound_dev_if(&self) -> u32 {
        self.field(offset!(skc_bound_dev_if))
    }

    /// `sk_flags` of a full socket: `enum sock_flags`.
    #[inline(always)]
    fn sock_flags(&self) -> u64 {
        self.field(offset!(skc_flags))
    }

    /// Whether more than `sock_common` may be read.
    #[inline(always)]
    fn is_full(&self) -> bool {
        !matches!(self.state(), state::TIME_WAIT | state::NEW_SYN_RECV)
    }

    /// [`socket_flags`], all but `MPTCP`.
    ///
    /// No branches: the verifier would follow every combination of them.
    #[inline(always)]
    fn socket_flags(&self) -> u8 {
        // `skc_reuse` is 1 for REUSEADDR and 2 for FORCE_REUSE, as our bits are.
        let mut flags =
            self.bits(offset!(skc_reuse)) & (socket_flags::REUSEADDR | socket_flags::FORCE_REUSE);
        flags |= (self.bits(offset!(skc_reuseport)) & 1) << REUSEPORT_BIT;
        if offset!(skc_ipv6only.offset) != MISSING {
            flags |= (self.bits(offset!(skc_ipv6only)) & 1) << V6ONLY_BIT;
        }
        flags
    }

    /// Peer address as two words in memory order; IPv4 in the first four bytes.
    #[inline(always)]
    fn peer_addr(&self) -> [u64; 2] {
        if self.family() == AF_INET6 && offset!(skc_v6_daddr) != MISSING {
            let at = offset!(skc_v6_daddr);
            return self.pair(at);
        }
        [v4_word(self.field(offset!(skc_daddr))), 0]
    }

    /// Local address, as [`peer_addr`](Self::peer_addr).
    #[inline(always)]
    fn local_addr(&self) -> [u64; 2] {
        if self.family() == AF_INET6 && offset!(skc_v6_rcv_saddr) != MISSING {
            let at = offset!(skc_v6_rcv_saddr);
            return self.pair(at);
        }
        [v4_word(self.field(offset!(skc_rcv_saddr))), 0]
    }

    /// Local address of an IPv4 socket.
    #[inline(always)]
    fn v4_local_addr(&self) -> [u8; 4] {
        self.field::<u32>(offset!(skc_rcv_saddr)).to_ne_bytes()
    }

    /// Peer address of an IPv4 socket.
    #[inline(always)]
    fn v4_peer_addr(&self) -> [u8; 4] {
        self.field::<u32>(offset!(skc_daddr)).to_ne_bytes()
    }

    /// Writes the socket's identity to `to`. `port` is the local port; state
    /// and flags are those of a full socket.
    ///
    /// # Safety
    ///
    /// `to` is valid for writes.
    #[inline(always)]
    unsafe fn write_to(&self, to: *mut SocketWire, cookie: u64, netns: u32, port: u16) {
        let family = self.family();
        // SAFETY: the caller vouches for `to`; both addresses lie at multiples
        // of eight bytes in it.
        let (local_addr, peer_addr) = unsafe {
            (
                (&raw mut (*to).local_addr).cast::<[u64; 2]>(),
                (&raw mut (*to).peer_addr).cast::<[u64; 2]>(),
            )
        };
        // Each branch stores its own, so that the verifier need not follow
        // both to the end.
        if family == AF_INET6 && offset!(skc_v6_rcv_saddr) != MISSING {
            let local = self.pair(offset!(skc_v6_rcv_saddr));
            let peer = self.pair(offset!(skc_v6_daddr));
            // SAFETY: as above.
            unsafe {
                write_pair(local_addr, local);
                write_pair(peer_addr, peer);
            }
        } else {
            let local = v4_word(self.field(offset!(skc_rcv_saddr)));
            let peer = v4_word(self.field(offset!(skc_daddr)));
            // SAFETY: as above.
            unsafe {
                write_pair(local_addr, [local, 0]);
                write_pair(peer_addr, [peer, 0]);
            }
        }
        // SAFETY: as above.
        unsafe {
            (*to).cookie = cookie;
            (*to).local_port = port;
            (*to).peer_port = self.peer_port();
            (*to).netns = netns;
            (*to).family = family;
            (*to).flags = self.socket_flags();
            (*to).state = self.state();
            (*to).bound_dev_if = self.bound_dev_if();
        }
    }
}

/// # Safety
///
/// `to` is valid for writes.
#[inline(always)]
unsafe fn write_pair(to: *mut [u64; 2], pair: [u64; 2]) {
    let to = to.cast::<u64>();
    // SAFETY: the caller vouches for `to`.
    unsafe {
        to.write_volatile(pair[0]);
        to.add(1).write_volatile(pair[1]);
    }
}

/// An IPv4 address in the first four bytes of a word.
#[inline(always)]
pub(crate) fn v4_word(addr: u32) -> u64 {
    let mut word = [0_u8; 8];
    let bytes = addr.to_ne_bytes();
    word[0] = bytes[0];
    word[1] = bytes[1];
    word[2] = bytes[2];
    word[3] = bytes[3];
    u64::from_ne_bytes(word)
}

/// Inode number of the network namespace at `net`.
#[inline(always)]
pub(crate) fn netns_of(net: Addr) -> Result<u32, Skip> {
    read(net + u64::from(offset!(net_inum)))
}

/// `sk_protocol` of a full socket.
#[inline(always)]
pub(crate) fn protocol(sk: Addr) -> Result<u16, Skip> {
    read(sk + u64::from(offset!(sk_protocol)))
}

/// Local port of a full socket that may have given its port back.
#[inline(always)]
pub(crate) fn local_port(sk: Addr, common: &impl SockCommon) -> Result<u16, Skip> {
    match common.local_port() {
        0 => Ok(u16::from_be(read(sk + u64::from(offset!(inet_sport)))?)),
        port => Ok(port),
    }
}

/// Substate of the mini-socket at `tw`: 5 or 6.
#[inline(always)]
pub(crate) fn substate(tw: Addr) -> Result<u8, Skip> {
    read(tw + u64::from(offset!(tw_substate)))
}

/// Milliseconds until the timer of the mini-socket at `tw` ends.
#[inline(always)]
pub(crate) fn expires_ms(tw: Addr) -> Result<i32, Skip> {
    let expires: u64 = read(tw + u64::from(offset!(tw_expires)))?;
    // SAFETY: takes nothing, reads the clock.
    let now = unsafe { bpf_jiffies64() };
    let hz = u64::from(config!(hz));
    // No signed division: BPF has had one only since Linux 6.6.
    let overdue = now.wrapping_sub(expires);
    if overdue < 1 << 31 {
        return Ok(-(millis(overdue, hz) as i32));
    }
    Ok(millis(expires.wrapping_sub(now) & 0x7fff_ffff, hz) as i32)
}

#[inline(always)]
pub(crate) fn millis(jiffies: u64, hz: u64) -> u64 {
    (jiffies * 1000).checked_div(hz).unwrap_or(0)
}
