//! What a process may do on a port below `ip_unprivileged_port_start`.

use std::fs::File;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;

use super::proc;
use crate::event::Rights;

/// Number of the capability in `linux/capability.h`.
const CAP_NET_BIND_SERVICE: u32 = 10;
/// User namespaces lie in each other at most this deep (`create_user_ns`).
const MAX_DEPTH: usize = 33;

/// Those of a process at this moment; `None`: it is gone. `netns` is the inode number of the
/// network namespace that it needed them in.
pub(crate) fn of(pid: u32, netns: u32) -> Option<Rights> {
    let status = std::fs::read_to_string(proc::of(pid).join("status")).ok()?;
    let (net_bind_service, no_new_privs) = parse(&status)?;
    Some(Rights {
        net_bind_service,
        owns_netns: owns(pid, netns),
        no_new_privs,
    })
}

/// `CapEff` and `NoNewPrivs` of `/proc/PID/status`.
fn parse(status: &str) -> Option<(bool, bool)> {
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.map(str::trim)
    };
    let effective = u64::from_str_radix(field("CapEff:")?, 16).ok()?;
    Some((
        effective & 1 << CAP_NET_BIND_SERVICE != 0,
        field("NoNewPrivs:") == Some("1"),
    ))
}

/// Whether the process's user namespace owns the network namespace, or has the one that
/// owns it below itself.
fn owns(pid: u32, netns: u32) -> Option<bool> {
    let at = |name: &str| File::open(proc::of(pid).join("ns").join(name)).ok();
    let inode = |file: &File| file.metadata().ok().map(|metadata| metadata.ino());
    let net = at("net")?;
    // It may have gone elsewhere since.
    if inode(&net)? != u64::from(netns) {
        return None;
    }
    let own = inode(&at("user")?)?;
    let mut owner = File::from(related(&net, NS_GET_USERNS)?);
    for _ in 0..MAX_DEPTH {
        if inode(&owner)? == own {
            return Some(true);
        }
        // Beyond the observer's own user namespace nothing is shown.
        match related(&owner, NS_GET_PARENT) {
            Some(parent) => owner = File::from(parent),
            None => break,
        }
    }
    Some(false)
}

/// `_IO(0xb7, 1)` and `_IO(0xb7, 2)` of `linux/nsfs.h`.
const NS_GET_USERNS: libc::Ioctl = 0xb701;
const NS_GET_PARENT: libc::Ioctl = 0xb702;

/// The namespace that owns another one, or that it lies in.
#[expect(unsafe_code, reason = "no safe wrapper for these requests")]
fn related(namespace: &File, request: libc::Ioctl) -> Option<OwnedFd> {
    // SAFETY: the descriptor is open, and the request takes no argument.
    let descriptor = unsafe { libc::ioctl(namespace.as_raw_fd(), request) };
    // SAFETY: what the kernel returned is a descriptor that nobody else has.
    (descriptor >= 0).then(|| unsafe { OwnedFd::from_raw_fd(descriptor) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_file_is_read() {
        let status = "Name:\tx\nCapEff:\t0000000000000400\nNoNewPrivs:\t1\n";

        assert_eq!(parse(status), Some((true, true)));
        assert_eq!(parse("CapEff:\t00000000a80425fb\n"), Some((true, false)));
        assert_eq!(parse("CapEff:\t0000000000000000\n"), Some((false, false)));
        assert_eq!(parse("CapEff:\tx\n"), None);
    }

    #[test]
    fn ones_own_user_namespace_owns_ones_network() {
        let netns = crate::snapshot::netns::current().unwrap();

        let own = of(std::process::id(), netns).unwrap();

        assert_eq!(own.owns_netns, Some(true));
        assert_eq!(of(std::process::id(), netns + 1).unwrap().owns_netns, None);
    }
}
