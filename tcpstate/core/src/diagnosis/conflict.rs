//! The rule by which Linux refuses a `bind` or `listen` with EADDRINUSE, as a
//! pure function over two sockets of the same port.
//!
//! It is the slow path of `inet_csk_get_port`: [`inet_bind_conflict`] and
//! [`inet_rcv_saddr_equal`]. The fast path in front of it ([`Memory`]) can only
//! let a call through, so a call that failed always went this way. `tests/bind_matrix.rs` holds it against 752 measured outcomes on
//! each of ten kernels, 5.10 to 7.2, `tests/matrix` against the running
//! one.
//!
//! What differs between kernels, and what is answered then:
//! - `SO_REUSEPORT` compares users. Up to 6.16 a socket without a descriptor
//!   counts as root's, from 6.17 on its `sk_uid` is kept. What is compared is
//!   what the holder's `uid` says.
//! - Up to 6.7, `bind` lets a reusing socket pass where all holders had
//!   `SO_REUSEADDR` when they bound, also after one has *cleared* it; `listen`
//!   then refuses, unless the new socket has `SO_REUSEPORT` as well. The bucket
//!   says that it does.
//! - 6.1.192 does not see `::ffff:0.0.0.0` in the way of `::ffff:127.0.0.1`;
//!   its neighbours do, and so does this rule.
//! - A BPF program that selects among `SO_REUSEPORT` sockets, attached before
//!   `bind`, switches sharing off. It is not looked at.
//!
//! [`inet_bind_conflict`]: https://elixir.bootlin.com/linux/v6.12/source/net/ipv4/inet_connection_sock.c
//! [`inet_rcv_saddr_equal`]: https://elixir.bootlin.com/linux/v6.12/source/net/ipv4/inet_connection_sock.c

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::event::{Family, Overlap, Reuse, Seen, SeenHolder, Sharing, State, YesNo};

/// The socket that asks for a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binder {
    /// Address family of the socket.
    pub family: Family,
    /// Address asked for.
    pub addr: IpAddr,
    /// Its options.
    pub reuse: Reuse,
    /// User that it belongs to.
    pub uid: Option<u32>,
    /// Interface index of `SO_BINDTODEVICE`.
    pub device: Option<u32>,
}

/// A socket that is in the port's bind bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BoundSocket {
    /// Address family of the socket.
    pub family: Family,
    /// Local address.
    pub addr: IpAddr,
    /// Its options now, not those that it was bound with; absent: not readable.
    pub reuse: Option<Reuse>,
    /// `IPV6_V6ONLY`, where that alone could be read.
    pub v6only: Option<bool>,
    /// User that it belongs to, as the kernel compares it.
    pub uid: Option<u32>,
    /// Interface index of `SO_BINDTODEVICE`.
    pub device: Option<u32>,
    /// State.
    pub state: State,
    /// A kernel mini-socket (`TIME_WAIT`, or `FIN_WAIT_2` of an orphan).
    pub is_mini: bool,
}

impl From<&SeenHolder> for BoundSocket {
    fn from(seen: &SeenHolder) -> Self {
        Self {
            family: seen.sock.family,
            addr: seen.local.addr,
            reuse: seen.reuse,
            v6only: seen.v6only,
            uid: seen.uid,
            device: seen.bound_dev_if.filter(|&index| index != 0),
            state: seen.state,
            is_mini: seen.is_mini,
        }
    }
}

/// What a bucket remembers of the sockets that bound it: whom it lets in without
/// a look at them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// By `SO_REUSEPORT`.
    pub sharing: Option<Sharing>,
    /// `tb->fastreuse`: a `bind` with `SO_REUSEADDR`.
    pub admits_reuseaddr: bool,
}

impl From<&Seen> for Memory {
    fn from(seen: &Seen) -> Self {
        Self {
            sharing: seen.sharing,
            admits_reuseaddr: seen.admits_reuseaddr,
        }
    }
}

/// Whether a server comes to its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forecast {
    /// Would `bind` succeed?
    pub bind: YesNo,
    /// Would `listen`, after it?
    pub listen: YesNo,
}

impl Forecast {
    /// The same for both.
    #[must_use]
    pub const fn both(answer: YesNo) -> Self {
        Self {
            bind: answer,
            listen: answer,
        }
    }
}

/// Whether one socket stands in the way of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The kernel refuses because of it.
    Conflict,
    /// It is no obstacle.
    Free,
    /// It depends on something that was not read.
    Unknown,
}

/// What each of `holders` means for `new`. `listen` repeats the check of
/// `bind` against the state of the holders at that moment, so this answers
/// both.
#[must_use]
pub(crate) fn would_bind(new: &Binder, holders: &[BoundSocket]) -> Vec<Verdict> {
    holders.iter().map(|holder| verdict(new, holder)).collect()
}

/// Whether `bind`, and then `listen`, would succeed among `holders`, which are
/// all there are only if `is_complete`.
#[must_use]
pub fn forecast(
    new: &Binder,
    holders: &[BoundSocket],
    memory: Memory,
    is_complete: bool,
) -> Forecast {
    let is_refused_by_family = match new.family {
        // `bind` answers EINVAL: a socket for IPv6 only has no IPv4 address.
        Family::Ipv6 => new.reuse.v6only && Compared::of_binder(new).kind == AddressKind::Mapped,
        Family::Ipv4 => false,
    };
    if is_refused_by_family {
        return Forecast::both(YesNo::No);
    }
    let is_let_bind = memory.admits_reuseaddr && new.reuse.reuseaddr;
    // A socket that comes in that way and has SO_REUSEPORT becomes the one whose
    // match is let in, which it is itself when it listens.
    if memory.sharing.is_some_and(|sharing| admits(&sharing, new))
        || (is_let_bind && new.reuse.reuseport)
    {
        return Forecast::both(YesNo::Yes);
    }
    let verdicts = would_bind(new, holders);
    let among_them = if verdicts.contains(&Verdict::Conflict) {
        YesNo::No
    } else if !is_complete || verdicts.contains(&Verdict::Unknown) {
        YesNo::Unknown
    } else {
        YesNo::Yes
    };
    Forecast {
        bind: if is_let_bind { YesNo::Yes } else { among_them },
        listen: among_them,
    }
}

/// Whether the bucket lets `new` in by `SO_REUSEPORT` without a look at the
/// sockets in it. They were free of conflicts when the last one bound that way;
/// the kernel does not look whether one has cleared the option since.
#[must_use]
pub(crate) fn admits(sharing: &Sharing, new: &Binder) -> bool {
    if !new.reuse.reuseport || new.uid != Some(sharing.uid) {
        return false;
    }
    let Some(addr) = sharing.addr else {
        return true;
    };
    let kept = Compared::new(sharing.family, addr, sharing.v6only);
    is_within(&Compared::of_binder(new), &kept)
}

/// What one holder means for `new`.
#[must_use]
pub fn verdict(new: &Binder, holder: &BoundSocket) -> Verdict {
    if let Some(reuse) = holder.reuse {
        return verdict_with(new, holder, reuse);
    }
    let mut possible = all_options()
        .filter(|reuse| holder.v6only.is_none_or(|v6only| v6only == reuse.v6only))
        .map(|reuse| verdict_with(new, holder, reuse));
    let first = possible.next().unwrap_or(Verdict::Unknown);
    if possible.all(|verdict| verdict == first) {
        first
    } else {
        Verdict::Unknown
    }
}

/// How the two addresses meet. Only meaningful where they do.
#[must_use]
pub(crate) fn overlap(new: &Binder, holder: &BoundSocket) -> Overlap {
    let a = Compared::of_binder(new);
    let b = Compared::of_holder(holder, holder.reuse.unwrap_or_default());
    match (a.is_ipv4(), b.is_ipv4()) {
        (true, true) if a.v4 == b.v4 => Overlap::Exact,
        (false, false) if a.v6 == b.v6 => Overlap::Exact,
        (true, false) | (false, true) if new.family != holder.family => Overlap::DualStack,
        _ => Overlap::Wildcard,
    }
}

fn verdict_with(new: &Binder, holder: &BoundSocket, reuse: Reuse) -> Verdict {
    let devices_differ = matches!((new.device, holder.device), (Some(a), Some(b)) if a != b);
    if devices_differ
        || !addresses_meet(
            &Compared::of_binder(new),
            &Compared::of_holder(holder, reuse),
        )
    {
        return Verdict::Free;
    }
    if new.reuse.reuseaddr && reuse.reuseaddr && holder.state != State::Listen {
        return Verdict::Free;
    }
    if new.reuse.reuseport && reuse.reuseport {
        // Mini-sockets keep no user, and the kernel does not ask for one.
        if holder.is_mini || holder.state == State::TimeWait {
            return Verdict::Free;
        }
        return match is_same_user(new, holder) {
            Some(true) => Verdict::Free,
            Some(false) => Verdict::Conflict,
            None => Verdict::Unknown,
        };
    }
    Verdict::Conflict
}

fn is_same_user(new: &Binder, holder: &BoundSocket) -> Option<bool> {
    Some(new.uid? == holder.uid?)
}

fn all_options() -> impl Iterator<Item = Reuse> {
    (0_u8..8).map(|bits| Reuse {
        reuseaddr: bits & 1 != 0,
        reuseport: bits & 2 != 0,
        v6only: bits & 4 != 0,
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum AddressKind {
    Any,
    Mapped,
    Unicast,
}

/// A local address as the kernel compares it: with an IPv4 side
/// (`skc_rcv_saddr`) and an IPv6 side (`skc_v6_rcv_saddr`).
struct Compared {
    family: Family,
    kind: AddressKind,
    v4: Ipv4Addr,
    v6: Ipv6Addr,
    v6only: bool,
}

/// `LOOPBACK4_IPV6`, the IPv4 side of an IPv6 socket with an address of its own.
const IPV4_SIDE_OF_IPV6: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 6);

impl Compared {
    fn of_binder(new: &Binder) -> Self {
        let mut compared = Self::new(new.family, new.addr, new.reuse.v6only);
        // `__inet6_bind` forces IPV6_V6ONLY for such an address.
        if compared.family == Family::Ipv6 && compared.kind == AddressKind::Unicast {
            compared.v6only = true;
        }
        compared
    }

    fn of_holder(holder: &BoundSocket, reuse: Reuse) -> Self {
        Self::new(holder.family, holder.addr, reuse.v6only)
    }

    fn new(family: Family, addr: IpAddr, v6only: bool) -> Self {
        let v6 = match addr {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        };
        let (kind, v4) = match v6.to_ipv4_mapped() {
            Some(v4) => (AddressKind::Mapped, v4),
            None if v6.is_unspecified() => (AddressKind::Any, Ipv4Addr::UNSPECIFIED),
            None => (AddressKind::Unicast, IPV4_SIDE_OF_IPV6),
        };
        Self {
            family,
            kind,
            v4,
            v6,
            v6only: v6only && family == Family::Ipv6,
        }
    }

    /// Whether it stands for IPv4 traffic only.
    fn is_ipv4(&self) -> bool {
        self.family == Family::Ipv4 || self.kind == AddressKind::Mapped
    }
}

/// `inet_rcv_saddr_equal(sk, sk2, match_wildcard: true)`.
fn addresses_meet(new: &Compared, holder: &Compared) -> bool {
    if new.family == Family::Ipv4 {
        return ipv4_sides_meet(new, holder);
    }
    let holder_kind = match holder.family {
        Family::Ipv6 => holder.kind,
        Family::Ipv4 => AddressKind::Mapped,
    };
    match (new.kind, holder_kind) {
        (AddressKind::Mapped, AddressKind::Mapped) => ipv4_sides_meet(new, holder),
        (AddressKind::Any, AddressKind::Any) => true,
        (kind, AddressKind::Any) if !(holder.v6only && kind == AddressKind::Mapped) => true,
        (AddressKind::Any, kind) if !(new.v6only && kind == AddressKind::Mapped) => true,
        _ => holder.family == Family::Ipv6 && new.v6 == holder.v6,
    }
}

/// `inet_rcv_saddr_equal` where only the wildcard of `kept` counts.
fn is_within(new: &Compared, kept: &Compared) -> bool {
    let new_kind = match new.family {
        Family::Ipv6 => new.kind,
        Family::Ipv4 => AddressKind::Mapped,
    };
    if kept.family == Family::Ipv4
        || (kept.kind, new_kind) == (AddressKind::Mapped, AddressKind::Mapped)
    {
        return !new.v6only && (new.v4 == kept.v4 || kept.v4.is_unspecified());
    }
    match (kept.kind, new_kind) {
        (AddressKind::Any, AddressKind::Any) => true,
        (AddressKind::Any, kind) if !(kept.v6only && kind == AddressKind::Mapped) => true,
        _ => new.family == Family::Ipv6 && new.v6 == kept.v6,
    }
}

fn ipv4_sides_meet(new: &Compared, holder: &Compared) -> bool {
    !holder.v6only && (new.v4 == holder.v4 || new.v4.is_unspecified() || holder.v4.is_unspecified())
}

#[cfg(test)]
#[path = "conflict_tests.rs"]
mod tests;
