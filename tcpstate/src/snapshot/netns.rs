//! Network namespaces: which there are, and how to look inside one.
//!
//! A namespace is opened for a look and let go again: holding it open would
//! keep it alive after its last process.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use thiserror::Error;

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
    /// No process or name refers to the namespace any more.
    #[error("the network namespace {0} is gone")]
    Gone(u32),
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

/// Where `ip netns` keeps its names.
const NAMED: &str = "/run/netns";

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
        Ok(inode) if list().contains_key(&inode) => Ok(Some(inode)),
        _ => Err(NetnsError::NotFound(text.to_owned())),
    }
}

/// Whether `ip netns` knows a namespace by this name.
#[must_use]
pub fn is_named(name: &str) -> bool {
    !name.contains('/') && Path::new(NAMED).join(name).exists()
}

/// Inode number of the calling thread's namespace.
pub fn current() -> Result<u32, NetnsError> {
    inode_at(Path::new("/proc/thread-self/ns/net"))
}

/// Every namespace that a process is in or a name refers to, with a path to it.
#[must_use]
pub fn list() -> BTreeMap<u32, PathBuf> {
    let mut found = BTreeMap::new();
    let mut note = |path: PathBuf| {
        if let Ok(inode) = inode_at(&path) {
            found.entry(inode).or_insert(path);
        }
    };
    note(PathBuf::from("/proc/thread-self/ns/net"));
    for entry in fs::read_dir(NAMED).into_iter().flatten().flatten() {
        note(entry.path());
    }
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        if entry
            .file_name()
            .as_encoded_bytes()
            .iter()
            .all(u8::is_ascii_digit)
        {
            note(entry.path().join("ns/net"));
        }
    }
    found
}

fn inode_at(path: &Path) -> Result<u32, NetnsError> {
    let open = |source| NetnsError::Open {
        path: path.to_owned(),
        source,
    };
    let link = fs::canonicalize(path).map_err(open);
    let metadata = fs::metadata(path).map_err(open)?;
    let is_namespace = rustix::fs::statfs(path).is_ok_and(|fs| fs.f_type == NSFS_MAGIC);
    match u32::try_from(metadata.ino()) {
        Ok(inode) if is_namespace && is_network(path) => Ok(inode),
        _ => Err(NetnsError::NotANamespace(
            link.unwrap_or_else(|_| path.to_owned()),
        )),
    }
}

/// `NSFS_MAGIC` of `linux/magic.h`.
const NSFS_MAGIC: rustix::fs::FsWord = 0x6e73_6673;

/// Links in `/proc` say which kind of namespace they are; bind mounts do not.
fn is_network(path: &Path) -> bool {
    fs::read_link(path).map_or(true, |target| target.to_string_lossy().starts_with("net:"))
}

/// Finds and enters namespaces; remembers where each was found last.
#[derive(Debug, Default)]
pub struct Namespaces {
    paths: BTreeMap<u32, PathBuf>,
    gone: BTreeSet<u32>,
}

impl Namespaces {
    /// Notes where a namespace was found, for one that no list would show.
    pub fn remember(&mut self, inode: u32, path: &Path) {
        self.paths.insert(inode, path.to_owned());
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

    fn open(&mut self, inode: u32) -> Result<File, NetnsError> {
        if let Some(file) = self.paths.get(&inode).and_then(|path| open_if(path, inode)) {
            return Ok(file);
        }
        // A look at all of /proc, but not again and again for one that is gone.
        if self.gone.contains(&inode) {
            return Err(NetnsError::Gone(inode));
        }
        self.paths = list();
        if let Some(file) = self.paths.get(&inode).and_then(|path| open_if(path, inode)) {
            return Ok(file);
        }
        if self.gone.len() >= MAX_GONE {
            self.gone.clear();
        }
        self.gone.insert(inode);
        Err(NetnsError::Gone(inode))
    }
}

/// Namespaces that are remembered as gone; inode numbers come back in time.
const MAX_GONE: usize = 256;

fn open_if(path: &Path, inode: u32) -> Option<File> {
    let file = File::open(path).ok()?;
    (file.metadata().ok()?.ino() == u64::from(inode)).then_some(file)
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
            Err(NetnsError::Gone(1))
        ));
    }
}
