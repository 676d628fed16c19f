//! Network namespaces: which there are, and how to look inside one.
//!
//! A namespace is opened for a look and let go again: holding it open would
//! keep it alive after its last process. What is kept is where it was found,
//! and a handle that keeps nothing alive.

mod find;
mod handle;
mod names;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use thiserror::Error;

pub use find::MAX_NAMESPACES;
use find::NAMED;
use handle::Handle;
pub use names::name_of;

use super::untrusted;
use crate::clock;

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
    find::at_little_cost()
}

/// The same, with those that only a thread or an open descriptor refers to.
#[must_use]
pub fn list_all() -> BTreeMap<u32, PathBuf> {
    let mut found = find::at_little_cost();
    find::at_some_cost(&mut found);
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

/// Finds and enters namespaces. Keeps of each where it was found, at most
/// [`MAX_NAMESPACES`]; when that is full, all are forgotten and found anew.
#[derive(Debug, Default)]
pub struct Namespaces {
    known: BTreeMap<u32, Place>,
    /// Looked for in vain, and when: not again at once.
    missed: BTreeMap<u32, u64>,
    /// When threads and descriptors may be searched again.
    search_rest_until_ns: u64,
    /// When the last search through all of them began.
    searched_ns: u64,
    /// Found to have ended, and not told yet.
    ended: Vec<NetnsError>,
}

/// How a namespace can be found again.
#[derive(Clone, Debug)]
struct Place {
    path: PathBuf,
    handle: Option<Handle>,
}

/// What could not be found is not searched for again before this.
const SEARCH_AGAIN_NS: u64 = 1_000_000_000;
/// A search through all threads and descriptors is followed by twenty times as
/// long without one.
const REST_FACTOR: u64 = 20;

impl Namespaces {
    /// Notes where a namespace was found, for one that no list would show.
    pub fn remember(&mut self, inode: u32, path: &Path) {
        self.take_in(BTreeMap::from([(inode, path.to_owned())]));
    }

    /// Runs `look` inside a namespace, in a thread of its own unless it is the
    /// caller's namespace already.
    pub fn inside<T: Send>(
        &mut self,
        inode: u32,
        look: impl FnOnce() -> T + Send,
    ) -> Result<T, NetnsError> {
        if current().is_ok_and(|own| own == inode) {
            return Ok(look());
        }
        let namespace = self.open(inode)?;
        let entered = std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
                    Ok(look())
                })
                .join()
        });
        match entered {
            Ok(result) => result.map_err(|source: rustix::io::Errno| NetnsError::Enter {
                inode,
                source: source.into(),
            }),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// Whether it is known how to find a namespace again.
    #[must_use]
    pub fn knows(&self, inode: u32) -> bool {
        self.known.contains_key(&inode)
    }

    /// Notes where every namespace is that can be found at little cost, before
    /// the processes in them are gone.
    pub fn note_all(&mut self) {
        self.take_in(list());
    }

    /// Every namespace that can be found at any cost.
    pub fn all(&mut self) -> BTreeSet<u32> {
        self.take_in(list_all());
        self.known.keys().copied().collect()
    }

    /// Looks for a namespace that is not known.
    pub fn find(&mut self, inode: u32) -> Result<(), NetnsError> {
        self.open(inode).map(drop)
    }

    /// When threads and descriptors were last searched: `Unreachable` says nothing
    /// of a namespace that is younger.
    #[must_use]
    pub fn searched_ns(&self) -> u64 {
        self.searched_ns
    }

    /// The known namespaces that have ended since the last call: `Gone` is
    /// certain, `Unreachable` is not. They are forgotten. Another one may have
    /// the number of one that is gone.
    pub fn take_ended(&mut self) -> Vec<NetnsError> {
        let inodes: Vec<u32> = self.known.keys().copied().collect();
        for inode in inodes {
            if current().is_ok_and(|own| own == inode) {
                continue;
            }
            if let Err(error) = self.open(inode).map(drop)
                && self.known.remove(&inode).is_some()
            {
                self.ended.push(error);
            }
        }
        std::mem::take(&mut self.ended)
    }

    fn open(&mut self, inode: u32) -> Result<File, NetnsError> {
        if let Some(place) = self.known.get(&inode) {
            match place.handle.map(|handle| handle.open()) {
                Some(Ok(Some(file))) => return Ok(file),
                Some(Ok(None)) => {
                    self.known.remove(&inode);
                    self.ended.push(NetnsError::Gone(inode));
                }
                Some(Err(_)) | None => {
                    if let Some(file) = open_if(&place.path, inode) {
                        return Ok(file);
                    }
                }
            }
        }
        let began_ns = clock::monotonic_ns();
        if let Some(missed_ns) = self.missed.get(&inode)
            && began_ns < missed_ns.saturating_add(SEARCH_AGAIN_NS)
        {
            return Err(NetnsError::Unreachable(inode));
        }
        self.take_in(list());
        if !self.known.contains_key(&inode) && began_ns >= self.search_rest_until_ns {
            self.searched_ns = began_ns;
            self.take_in(list_all());
            let ended_ns = clock::monotonic_ns();
            let cost_ns = ended_ns.saturating_sub(began_ns);
            self.search_rest_until_ns =
                ended_ns.saturating_add(SEARCH_AGAIN_NS.max(cost_ns * REST_FACTOR));
        }
        let file = self
            .known
            .get(&inode)
            .and_then(|place| open_if(&place.path, inode));
        if let Some(file) = file {
            self.missed.remove(&inode);
            return Ok(file);
        }
        if self.missed.len() >= MAX_NAMESPACES {
            self.missed.clear();
        }
        self.missed.insert(inode, began_ns);
        Err(NetnsError::Unreachable(inode))
    }

    /// Adds what was found. Who is known already by a handle stays what he is:
    /// only [`Self::open`] finds out that he is gone.
    fn take_in(&mut self, found: BTreeMap<u32, PathBuf>) {
        if self.known.len().saturating_add(found.len()) > 2 * MAX_NAMESPACES {
            self.known.clear();
        }
        for (inode, path) in found {
            let is_known = self
                .known
                .get(&inode)
                .is_some_and(|place| place.handle.is_some() || place.path == path);
            if !is_known {
                let file = open_if(&path, inode);
                let handle = file.and_then(|file| Handle::of(&file));
                self.known.insert(inode, Place { path, handle });
            }
        }
    }
}

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

    /// A namespace that lives as long as the sender is not dropped.
    fn namespace() -> (
        u32,
        std::sync::mpsc::Sender<()>,
        std::thread::JoinHandle<()>,
    ) {
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let (tell, told) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let _ = tell.send(crate::demo::namespace::enter_private().ok());
            let _ = ended.recv();
        });
        (told.recv().unwrap().unwrap_or(0), end, thread)
    }

    #[test]
    fn a_number_that_comes_back_is_a_namespace_again() {
        let mut namespaces = Namespaces::default();
        let (inode, end, thread) = namespace();
        if inode == 0 {
            return;
        }
        assert_eq!(
            namespaces.inside(inode, || current().unwrap()).unwrap(),
            inode
        );
        drop(end);
        thread.join().unwrap();
        // The thread lets go of it a moment after it was joined.
        let is_it = |ended: &NetnsError| matches!(ended, NetnsError::Gone(number) | NetnsError::Unreachable(number) if *number == inode);
        assert!((0..200).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            namespaces.take_ended().iter().any(is_it)
        }));

        // The number comes back as soon as the kernel has cleaned up.
        let again = (0..200).find_map(|_| {
            let (number, end, thread) = namespace();
            if number == inode {
                return Some((end, thread));
            }
            drop(end);
            thread.join().unwrap();
            std::thread::sleep(std::time::Duration::from_millis(10));
            None
        });
        let Some((end, thread)) = again else {
            return;
        };
        // The longer a search has taken, the later the next one is made.
        let found = (0..100).find_map(|_| {
            std::thread::sleep(std::time::Duration::from_nanos(SEARCH_AGAIN_NS));
            namespaces.inside(inode, || current().unwrap()).ok()
        });
        assert_eq!(found, Some(inode));
        drop(end);
        thread.join().unwrap();
    }
}
