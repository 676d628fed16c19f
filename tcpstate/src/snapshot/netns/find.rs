//! Where network namespaces can be reached: names, processes, bind mounts,
//! and, at more cost, threads and open descriptors.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use super::inode_at;
use crate::clock;
use crate::snapshot::owners::pids;
use crate::snapshot::proc;

/// Where `ip netns` keeps its names.
pub(super) const NAMED: &str = "/run/netns";
/// Namespaces that are kept in mind. A host with more has the others watched
/// by the hooks all the same; their tables are not looked into.
pub const MAX_NAMESPACES: usize = 4096;

/// Namespaces with a path to each.
pub(super) type Found = BTreeMap<u32, PathBuf>;

/// What names, processes and bind mounts refer to; whether there was time for all of them.
pub(super) fn at_little_cost(until_ns: u64) -> (Found, bool) {
    let mut found = Found::new();
    note(&mut found, inode_of_link(Path::new(OWN)), OWN);
    for entry in fs::read_dir(NAMED).into_iter().flatten().flatten() {
        note(&mut found, inode_at(&entry.path()).ok(), entry.path());
    }
    let mut mount_namespaces = BTreeSet::new();
    let own = Path::new("/proc/thread-self");
    note_mounts(&mut found, &mut mount_namespaces, own, "".as_ref());
    for pid in pids() {
        if clock::monotonic_ns() > until_ns {
            return (found, false);
        }
        let path = proc::of(pid).join("ns/net");
        note(&mut found, inode_of_link(&path), path);
        let process = proc::of(pid);
        let root = process.join("root");
        note_mounts(
            &mut found,
            &mut mount_namespaces,
            &process,
            root.as_os_str(),
        );
    }
    (found, true)
}

/// What threads that left their process's namespace, and open descriptors,
/// refer to: every thread and every descriptor of the host is looked at, where there is time.
pub(super) fn at_some_cost(found: &mut Found, until_ns: u64) -> bool {
    for pid in pids() {
        for thread in entries(&proc::of(pid).join("task")) {
            if clock::monotonic_ns() > until_ns {
                return false;
            }
            let path = thread.join("ns/net");
            note(found, inode_of_link(&path), path);
        }
        for descriptor in entries(&proc::of(pid).join("fd")) {
            if clock::monotonic_ns() > until_ns {
                return false;
            }
            note(found, inode_of_link(&descriptor), descriptor);
        }
    }
    true
}

const OWN: &str = "/proc/thread-self/ns/net";

fn note(found: &mut Found, inode: Option<u32>, path: impl Into<PathBuf>) {
    let Some(inode) = inode else { return };
    if found.len() < MAX_NAMESPACES || found.contains_key(&inode) {
        found.entry(inode).or_insert_with(|| path.into());
    }
}

fn entries(directory: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
}

/// `net:[4026532177]` -> 4026532177.
pub(super) fn inode_of_link(path: &Path) -> Option<u32> {
    let target = fs::read_link(path).ok()?;
    inode_in(target.as_os_str().as_bytes())
}

fn inode_in(text: &[u8]) -> Option<u32> {
    let digits = text.strip_prefix(b"net:[")?.strip_suffix(b"]")?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// The bind mounts in a process's view of the file system, once per view.
fn note_mounts(found: &mut Found, seen: &mut BTreeSet<PathBuf>, process: &Path, root: &OsStr) {
    let Ok(view) = fs::read_link(process.join("ns/mnt")) else {
        return;
    };
    if !seen.insert(view) {
        return;
    }
    let text = fs::read(process.join("mountinfo")).unwrap_or_default();
    for line in text.split(|byte| *byte == b'\n') {
        if let Some((inode, place)) = mount(line) {
            let mut path = OsString::from(root);
            path.push(place);
            // Something else may be mounted over it.
            let path = PathBuf::from(path);
            if inode_at(&path).is_ok_and(|there| there == inode) {
                note(found, Some(inode), path);
            }
        }
    }
}

/// A line of `mountinfo`, if it is the mount of a network namespace.
fn mount(line: &[u8]) -> Option<(u32, OsString)> {
    let mut words = line.split(|byte| *byte == b' ').skip(3);
    let inode = inode_in(words.next()?)?;
    Some((inode, OsString::from_vec(unescape(words.next()?))))
}

/// `mountinfo` writes white space and backslashes as `\ooo`.
fn unescape(word: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((first, tail)) = rest.split_first() {
        let escaped = tail
            .get(..3)
            .filter(|_| *first == b'\\')
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        if let Some(byte) = escaped {
            bytes.push(byte);
            rest = tail.get(3..).unwrap_or_default();
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_of_a_namespace_is_told_from_other_mounts() {
        let named =
            b"310 22 0:4 net:[4026532177] /run/my\\040ns rw,relatime shared:9 - nsfs nsfs rw";
        let other = b"311 22 0:4 mnt:[4026531832] /run/mnt rw - nsfs nsfs rw";
        let disk = b"22 1 254:0 / / rw,relatime - ext4 /dev/vda rw";

        assert_eq!(mount(named), Some((4_026_532_177, "/run/my ns".into())));
        assert_eq!(mount(other), None);
        assert_eq!(mount(disk), None);
        assert_eq!(mount(b""), None);
        assert_eq!(unescape(b"a\\134b\\9\\"), b"a\\b\\9\\");
    }

    #[test]
    fn a_namespace_of_a_thread_is_found_only_at_some_cost() {
        let (mut cheap, own) = std::thread::spawn(|| {
            // In the thread's own, if we are root; else the process's.
            let own = crate::demo::namespace::enter_private()
                .or_else(|_| crate::demo::namespace::current_inode())
                .unwrap();
            let (mut found, _) = at_little_cost(u64::MAX);
            found.remove(&own);
            assert!(at_some_cost(&mut found, u64::MAX));
            (found, own)
        })
        .join()
        .unwrap();

        assert!(cheap.remove(&own).is_some());
    }
}
