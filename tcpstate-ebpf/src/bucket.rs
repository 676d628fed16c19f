//! The kernel's bind buckets: one per (namespace, port), with every socket
//! that holds the port, mini-sockets included.
//!
//! Up to Linux 6.7 the sockets hang on the bucket itself (`owners`); from 6.8
//! on the bucket has a second level (`bhash2`), one per local address, and the
//! sockets hang on that. Nothing is locked here: a list can change under the
//! walk, every read is checked, and every walk has an end.

use tcpstate_common::{
    offsets::MISSING,
    record::{AF_INET6, SharingWire},
};

use crate::{
    error::Skip,
    globals::offset,
    memory::{Addr, read, read_addr},
};

/// Buckets in one slot of the hash that are visited. A slot holds one on
/// average; even 65,536 ports in ten namespaces make chains of about ten.
const MAX_CHAIN: u32 = 32;

/// How the search for a bucket ended.
pub(crate) enum Bucket {
    /// At this address.
    At(Addr),
    /// The port has none: it is free.
    None,
    /// The chain is longer than we follow.
    Unknown,
}

/// The bucket of `port` in the namespace at `net`. With `outside_vrf` buckets
/// of a VRF do not count.
#[inline(always)]
pub(crate) fn find(net: Addr, port: u16, outside_vrf: bool) -> Result<Bucket, Skip> {
    let mut node = slot(net, port)?;
    for _ in 0..MAX_CHAIN {
        if node == 0 {
            return Ok(Bucket::None);
        }
        let bucket = node.wrapping_sub(u64::from(offset!(tb_node)));
        let bucket_port: u16 = read(bucket + u64::from(offset!(tb_port)))?;
        if bucket_port == port
            && read_addr(bucket + u64::from(offset!(tb_net)))? == net
            && !(outside_vrf && is_in_vrf(bucket)?)
        {
            return Ok(Bucket::At(bucket));
        }
        node = read_addr(node)?;
    }
    Ok(Bucket::Unknown)
}

/// Whether `bind` lets a socket with `SO_REUSEADDR` into the bucket without a look at
/// its sockets: all have had the option when they bound, and none has listened. From
/// Linux 6.8 on no bucket says so. What cannot be read lets nobody in.
#[inline(always)]
pub(crate) fn admits_reuseaddr(bucket: Addr) -> u8 {
    if offset!(tb_fastreuse) == MISSING {
        return 0;
    }
    let fastreuse = read::<u8>(bucket + u64::from(offset!(tb_fastreuse))).unwrap_or(0);
    // Negative: `connect` has made the bucket.
    u8::from(fastreuse != 0 && fastreuse < 128)
}

/// Writes to `to` whom the bucket lets in by `SO_REUSEPORT` without a look at
/// its sockets. What cannot be read lets nobody in.
///
/// # Safety
///
/// `to` is valid for writes.
#[inline(always)]
pub(crate) unsafe fn write_sharing(to: *mut SharingWire, bucket: Addr) {
    let is_known = offset!(tb_fastreuseport) != MISSING
        && offset!(tb_fastuid) != MISSING
        && offset!(tb_fast_rcv_saddr) != MISSING
        && offset!(tb_fast_sk_family) != MISSING
        && offset!(tb_fast_ipv6_only) != MISSING;
    let sharing = if is_known {
        sharing(bucket).unwrap_or(NOBODY)
    } else {
        NOBODY
    };
    // SAFETY: the caller vouches for `to`.
    unsafe { to.write(sharing) };
}

const NOBODY: SharingWire = SharingWire {
    addr: [0; 16],
    uid: 0,
    family: 0,
    mode: 0,
    v6only: 0,
};

#[inline(always)]
fn sharing(bucket: Addr) -> Result<SharingWire, Skip> {
    let mut sharing = NOBODY;
    sharing.mode = read(bucket + u64::from(offset!(tb_fastreuseport)))?;
    sharing.uid = read(bucket + u64::from(offset!(tb_fastuid)))?;
    sharing.family = read(bucket + u64::from(offset!(tb_fast_sk_family)))?;
    sharing.v6only = read(bucket + u64::from(offset!(tb_fast_ipv6_only)))?;
    if sharing.family == AF_INET6 && offset!(tb_fast_v6_rcv_saddr) != MISSING {
        sharing.addr = read(bucket + u64::from(offset!(tb_fast_v6_rcv_saddr)))?;
    } else {
        let addr: [u8; 4] = read(bucket + u64::from(offset!(tb_fast_rcv_saddr)))?;
        sharing.addr[0] = addr[0];
        sharing.addr[1] = addr[1];
        sharing.addr[2] = addr[2];
        sharing.addr[3] = addr[3];
    }
    Ok(sharing)
}

/// Whether sockets hang on a second level.
#[inline(always)]
pub(crate) fn has_second_level() -> bool {
    offset!(tb_bhash2) != MISSING
}

/// First node of a bucket: of its second level where it has one, else of its
/// sockets.
#[inline(always)]
pub(crate) fn first_node(bucket: Addr) -> Result<Addr, Skip> {
    let list = if has_second_level() {
        offset!(tb_bhash2)
    } else {
        offset!(tb_owners)
    };
    read_addr(bucket + u64::from(list))
}

/// The second-level bucket that a node of [`first_node`]'s list belongs to.
#[inline(always)]
pub(crate) fn second_level(node: Addr) -> Addr {
    node.wrapping_sub(u64::from(offset!(tb2_bhash_node)))
}

/// First node of a second-level bucket's sockets.
#[inline(always)]
pub(crate) fn second_level_owners(bucket: Addr) -> Result<Addr, Skip> {
    read_addr(bucket + u64::from(offset!(tb2_owners)))
}

/// The socket that an owner's node belongs to; the same for every kind.
#[inline(always)]
pub(crate) fn owner(node: Addr) -> Addr {
    node.wrapping_sub(u64::from(offset!(skc_bind_node)))
}

/// First bucket of the hash slot that `port` falls into.
#[inline(always)]
fn slot(net: Addr, port: u16) -> Result<Addr, Skip> {
    let mut death_row = net + u64::from(offset!(net_death_row));
    if offset!(net_death_row_is_pointer) == 1 {
        death_row = read_addr(death_row)?;
    }
    let hashinfo = read_addr(death_row + u64::from(offset!(death_row_hashinfo)))?;
    let buckets = read_addr(hashinfo + u64::from(offset!(hashinfo_bhash)))?;
    let size: u32 = read(hashinfo + u64::from(offset!(hashinfo_bhash_size)))?;
    let mix: u32 = read(net + u64::from(offset!(net_hash_mix)))?;
    let index = u32::from(port).wrapping_add(mix) & size.wrapping_sub(1);
    let bucket = buckets + u64::from(index) * u64::from(offset!(hashbucket_size));
    read_addr(bucket + u64::from(offset!(hashbucket_chain)))
}

#[inline(always)]
fn is_in_vrf(bucket: Addr) -> Result<bool, Skip> {
    if offset!(tb_l3mdev) == MISSING {
        return Ok(false);
    }
    Ok(read::<u32>(bucket + u64::from(offset!(tb_l3mdev)))? != 0)
}
