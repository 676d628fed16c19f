//! Network namespaces: which there are, and how to look inside one.
//!
//! A namespace is opened for a look and let go again: holding it open would
//! keep it alive after its last process. What is kept is where it was found,
//! and a handle that keeps nothing alive.

mod find;
mod handle;
mod names;
mod namespaces;
mod search;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use thiserror::Error;

pub use find::MAX_NAMESPACES;
use find::NAMED;
use handle::Handle;
pub use names::name_of;
pub use namespaces::Namespaces;

use super::untrusted;

/// A namespace could not be found or entered.
#[derive(Debug, Error)]
pub enum NetnsError {
    /// Nothing has this name.
    #[error(
        "there is no network namespace `{0}`; name one of `ip netns list`, a path such as /proc/PID/ns/net, an inode number, `self` or `all`"
    )]
    NotFound(String),
    /// The path is something else.
    #[error("{0} is not a network namespace; /proc/PID/ns/net of a process in it is")]
    NotANamespace(PathBuf),
    /// It cannot be read.
    #[error("cannot open the network namespace {path}: {source}")]
    Open {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It does not exist any more.
    #[error("the network namespace {0} is gone")]
    Gone(u32),
    /// Nothing that can be seen refers to it: no name, process, thread, mount
    /// or descriptor.
    #[error("the network namespace {0} cannot be found any more")]
    Unreachable(u32),
    /// It is searched for.
    #[error(
        "the network namespace {0} was not found in the time that a search may take; name it by a path such as /proc/PID/ns/net"
    )]
    Searching(u32),
    /// It cannot be entered.
    #[error(
        "cannot enter the network namespace {inode}: {source}; that needs root or CAP_SYS_ADMIN"
    )]
    Enter {
        /// Which.
        inode: u32,
        /// Why.
        source: io::Error,
    },
}

/// The namespace that a name, path, inode number or `self` stands for;
/// `None`: `all`.
pub fn resolve(text: &str) -> Result<Option<u32>, NetnsError> {
    match text {
        "all" => return Ok(None),
        "self" => return current().map(Some),
        _ => {}
    }
    if text.contains('/') {
        return inode_at(Path::new(text)).map(Some);
    }
    if is_named(text) {
        return inode_at(&Path::new(NAMED).join(text)).map(Some);
    }
    match text.parse::<u32>() {
        Ok(inode) if list().contains_key(&inode) || list_all().contains_key(&inode) => {
            Ok(Some(inode))
        }
        _ => Err(NetnsError::NotFound(text.to_owned())),
    }
}

/// Whether `ip netns` knows a namespace by this name.
#[must_use]
pub fn is_named(name: &str) -> bool {
    let is_name = !name.contains('/') && !matches!(name, "" | "." | "..");
    is_name && untrusted::locate(&Path::new(NAMED).join(name)).is_ok()
}

/// Inode number of the calling thread's namespace.
pub fn current() -> Result<u32, NetnsError> {
    let own = Path::new("/proc/thread-self/ns/net");
    find::inode_of_link(own).map_or_else(|| inode_at(own), Ok)
}

/// Cookie of the calling thread's namespace (`SO_NETNS_COOKIE`, Linux 5.14), which
/// no other namespace of this boot gets; `None`: this kernel does not tell.
#[must_use]
#[expect(unsafe_code, reason = "no safe wrapper for SO_NETNS_COOKIE")]
pub fn current_cookie() -> Option<u64> {
    let socket = rustix::net::socket_with(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::DGRAM,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )
    .ok()?;
    let mut cookie = 0_u64;
    let mut len = u32::try_from(size_of::<u64>()).ok()?;
    // SAFETY: the descriptor is open, `cookie` has as many bytes as `len` says, and
    // the kernel writes no more.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut len,
        )
    };
    (result == 0).then_some(cookie)
}

/// Inode number of the kernel's own rtnetlink socket in the calling thread's
/// namespace (`/proc/net/netlink`, the one of protocol 0 and port 0).
///
/// The kernel makes one with each namespace and takes the number from a counter
/// that goes on through the boot (`get_next_ino`), so that a shell can tell a
/// namespace from a later one with the same number.
#[must_use]
pub fn rtnetlink_inode() -> Option<u64> {
    let table = fs::read_to_string("/proc/thread-self/net/netlink").ok()?;
    rtnetlink_inode_in(&table)
}

fn rtnetlink_inode_in(table: &str) -> Option<u64> {
    table.lines().find_map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let is_kernels = columns.get(1..3)? == ["0", "0"];
        is_kernels.then(|| columns.get(9)?.parse().ok()).flatten()
    })
}

/// Every namespace that a process is in or a name or bind mount refers to,
/// with a path to it; at most [`MAX_NAMESPACES`].
#[must_use]
pub fn list() -> BTreeMap<u32, PathBuf> {
    find::at_little_cost(u64::MAX).0
}

/// The same, with those that only a thread or an open descriptor refers to.
#[must_use]
pub fn list_all() -> BTreeMap<u32, PathBuf> {
    let (mut found, _) = find::at_little_cost(u64::MAX);
    find::at_some_cost(&mut found, u64::MAX);
    found
}

/// Whether this kernel has file handles for namespaces (Linux 6.18): with them
/// the end of a namespace is certain.
#[must_use]
pub fn has_handles() -> bool {
    let own = open_at(Path::new("/proc/thread-self/ns/net"));
    own.is_ok_and(|(file, _)| Handle::of(&file).is_some())
}

fn inode_at(path: &Path) -> Result<u32, NetnsError> {
    open_at(path).map(|(_, inode)| inode)
}

/// The network namespace at a path that anybody may have put something else at by now.
fn open_at(path: &Path) -> Result<(File, u32), NetnsError> {
    let failed = |source| NetnsError::Open {
        path: path.to_owned(),
        source,
    };
    let other = || {
        let leads_to = fs::canonicalize(path);
        NetnsError::NotANamespace(leads_to.unwrap_or_else(|_| path.to_owned()))
    };
    let handle = untrusted::locate(path).map_err(failed)?;
    let seen = untrusted::stat(&handle).map_err(|error| failed(error.into()))?;
    if namespaces_device() != Some((seen.stx_dev_major, seen.stx_dev_minor)) {
        return Err(other());
    }
    // Opening one waits for nothing.
    let file = untrusted::open(&handle).map_err(failed)?;
    match u32::try_from(seen.stx_ino) {
        Ok(inode) if is_network(&file) => Ok((file, inode)),
        _ => Err(other()),
    }
}

/// The device of all namespaces' files, which are in one file system of the kernel.
fn namespaces_device() -> Option<(u32, u32)> {
    static DEVICE: OnceLock<Option<(u32, u32)>> = OnceLock::new();
    *DEVICE.get_or_init(|| {
        let own = untrusted::locate(Path::new("/proc/self/ns/net")).ok()?;
        let seen = untrusted::stat(own).ok()?;
        Some((seen.stx_dev_major, seen.stx_dev_minor))
    })
}

/// Whether a namespace's file is one of the network.
#[expect(unsafe_code, reason = "no safe wrapper for NS_GET_NSTYPE")]
fn is_network(file: &File) -> bool {
    /// `_IO(0xb7, 3)` of `linux/nsfs.h`.
    const NS_GET_NSTYPE: u32 = 0xb703;
    // SAFETY: the descriptor is open, and the request takes no argument.
    let kind = unsafe { libc::ioctl(file.as_raw_fd(), NS_GET_NSTYPE.into()) };
    kind == libc::CLONE_NEWNET
}

/// What could not be found is not searched for again before this.
const SEARCH_AGAIN_NS: u64 = 1_000_000_000;

fn open_if(path: &Path, inode: u32) -> Option<File> {
    let (file, there) = open_at(path).ok()?;
    (there == inode).then_some(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ones_own_namespace_is_found_by_each_of_its_names() {
        let own = current().unwrap();

        assert_eq!(resolve("self").unwrap(), Some(own));
        assert_eq!(resolve("/proc/self/ns/net").unwrap(), Some(own));
        assert_eq!(resolve(&own.to_string()).unwrap(), Some(own));
        assert_eq!(resolve("all").unwrap(), None);
        assert!(list().contains_key(&own));
        assert_eq!(Namespaces::default().inside(own, || 7).unwrap(), 7);
    }

    #[test]
    fn the_kernels_own_socket_is_found_among_others() {
        let table = "sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode\n\
                     00000000f59b1022 4   0          00000000 0        0        0     2        0        1583    \n\
                     00000000cfa884a5 0   812        00000000 0        0        0     2        0        77      \n\
                     00000000cfa884a5 0   0          00000000 0        0        0     2        0        4       \n";

        assert_eq!(rtnetlink_inode_in(table), Some(4));
        assert_eq!(rtnetlink_inode_in("sk Eth Pid\n"), None);
        assert!(rtnetlink_inode().is_some());
    }

    #[test]
    fn what_is_no_network_namespace_is_refused() {
        assert!(matches!(
            resolve("no-such-name"),
            Err(NetnsError::NotFound(_))
        ));
        assert!(matches!(
            resolve("/etc/passwd"),
            Err(NetnsError::NotANamespace(_))
        ));
        assert!(matches!(
            resolve("/proc/self/ns/mnt"),
            Err(NetnsError::NotANamespace(_))
        ));
        assert!(matches!(
            resolve("/proc/self/ns/nothing"),
            Err(NetnsError::Open { .. })
        ));
        assert!(matches!(
            Namespaces::default().inside(1, || ()),
            Err(NetnsError::Unreachable(1))
        ));
    }
}
