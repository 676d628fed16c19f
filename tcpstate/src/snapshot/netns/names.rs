//! What `ip netns` calls a namespace.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use super::find::NAMED;
use super::{MAX_NAMESPACES, SEARCH_AGAIN_NS, inode_at};
use crate::clock;

/// Names that were found, and when none was.
static KNOWN: Mutex<BTreeMap<u32, Known>> = Mutex::new(BTreeMap::new());

#[derive(Clone, Debug)]
enum Known {
    As(String),
    NotAt(u64),
}

/// The name that `ip netns` has for the namespace with this inode number: of several the
/// first one. Only one that root gave, and that means nothing to a shell.
#[must_use]
pub fn name_of(inode: u32) -> Option<String> {
    let directory = Path::new(NAMED);
    let now_ns = clock::monotonic_ns();
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    match known.get(&inode) {
        Some(Known::As(name)) if is_roots(directory) && leads_to(directory, name, inode) => {
            return Some(name.clone());
        }
        Some(Known::NotAt(missed_ns)) if now_ns < missed_ns.saturating_add(SEARCH_AGAIN_NS) => {
            return None;
        }
        _ => {}
    }
    let found = find(directory, |name| leads_to(directory, name, inode));
    if known.len() >= MAX_NAMESPACES {
        known.clear();
    }
    let what = found.clone().map_or(Known::NotAt(now_ns), Known::As);
    known.insert(inode, what);
    found
}

fn leads_to(directory: &Path, name: &str, inode: u32) -> bool {
    let path = directory.join(name);
    // The number first: there may be thousands of others.
    fs::metadata(&path).is_ok_and(|found| found.ino() == u64::from(inode))
        && inode_at(&path).is_ok_and(|found| found == inode)
}

/// The first name that fits.
fn find(directory: &Path, fits: impl Fn(&str) -> bool) -> Option<String> {
    if !is_roots(directory) {
        return None;
    }
    fs::read_dir(directory)
        .ok()?
        .flatten()
        .take(MAX_NAMESPACES)
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| is_plain(name) && fits(name))
        .min()
}

/// Whether nobody but root can have put a name there.
fn is_roots(directory: &Path) -> bool {
    const WRITABLE_BY_OTHERS: u32 = 0o022;
    fs::symlink_metadata(directory).is_ok_and(|found| {
        found.is_dir() && found.uid() == 0 && found.mode() & WRITABLE_BY_OTHERS == 0
    })
}

fn is_plain(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    !matches!(name, "" | "." | "..") && !name.starts_with('-') && name.bytes().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, chown};

    use super::*;

    #[test]
    fn a_name_is_one_that_means_nothing_to_a_shell() {
        for name in ["blue", "a.b_c-9", ".hidden", "9"] {
            assert!(is_plain(name), "{name}");
        }
        for name in [
            "", ".", "..", "-rf", "a b", "a;b", "$x", "a\nb", "\u{e9}", "a/b",
        ] {
            assert!(!is_plain(name), "{name}");
        }
    }

    #[test]
    fn of_several_names_the_first_one_counts() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["c", "b", "-a", "a b", "z"] {
            fs::write(directory.path().join(name), "").unwrap();
        }
        if !is_roots(directory.path()) {
            return;
        }

        assert_eq!(find(directory.path(), |_| true).as_deref(), Some("b"));
        assert_eq!(
            find(directory.path(), |name| name == "z").as_deref(),
            Some("z")
        );
        assert_eq!(find(directory.path(), |name| name.starts_with('-')), None);
    }

    #[test]
    fn names_that_somebody_else_may_have_given_are_none() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("a"), "").unwrap();
        let found = || find(directory.path(), |_| true);
        let mode = |mode| {
            fs::set_permissions(directory.path(), fs::Permissions::from_mode(mode)).unwrap();
        };
        if !is_roots(directory.path()) {
            return;
        }

        assert!(found().is_some());
        mode(0o757);
        assert_eq!(found(), None);
        mode(0o775);
        assert_eq!(found(), None);
        mode(0o755);
        assert!(found().is_some());
        chown(directory.path(), Some(65534), None).unwrap();
        assert_eq!(found(), None);
        assert_eq!(find(Path::new("/nowhere"), |_| true), None);
    }
}
