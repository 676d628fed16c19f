//! Who owns a cgroup. Whoever has been given one to manage makes others below it and
//! calls them what he likes; a name means something only where root chose it.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// `CGROUP2_SUPER_MAGIC` and `CGROUP_SUPER_MAGIC`.
const MAGIC: [rustix::fs::FsWord; 2] = [0x6367_7270, 0x0027_e0eb];
const ROOT: u32 = 0;

/// The owner of the cgroup to which these names lead from where its hierarchy is
/// mounted: root, if root owns every one on the way; else the first other one.
/// `None`: one of them cannot be read.
#[must_use]
pub(super) fn of<'a>(mounted_at: &Path, names: impl IntoIterator<Item = &'a str>) -> Option<u32> {
    let is_cgroups = rustix::fs::statfs(mounted_at).is_ok_and(|fs| MAGIC.contains(&fs.f_type));
    is_cgroups.then(|| first_other_owner(mounted_at, names))?
}

fn first_other_owner<'a>(top: &Path, names: impl IntoIterator<Item = &'a str>) -> Option<u32> {
    let mut directory = top.to_owned();
    let mut owner = fs::metadata(&directory).ok()?.uid();
    for name in names {
        if owner != ROOT {
            break;
        }
        // What is outside of our own view begins like this.
        if matches!(name, "." | "..") {
            return None;
        }
        directory.push(name);
        let metadata = fs::symlink_metadata(&directory).ok()?;
        if !metadata.is_dir() {
            return None;
        }
        owner = metadata.uid();
    }
    Some(owner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_directory_that_is_not_roots_says_whose_all_below_it_are() {
        let top = tempfile::tempdir().unwrap();
        let own = fs::metadata(top.path()).unwrap().uid();
        fs::create_dir_all(top.path().join("a/b/c")).unwrap();
        fs::write(top.path().join("a/file"), "").unwrap();
        let whose = |names: &[&str]| first_other_owner(top.path(), names.iter().copied());

        assert_eq!(whose(&[]), Some(own));
        assert_eq!(whose(&["a", "b", "c"]), Some(own));
        if own != ROOT {
            return;
        }
        assert_eq!(whose(&["a", "gone"]), None);
        assert_eq!(whose(&["a", "file"]), None);
        assert_eq!(whose(&["..", "a"]), None);
        assert_eq!(whose(&["a", ".", "b"]), None);
        std::os::unix::fs::chown(top.path().join("a/b"), Some(65534), None).unwrap();
        assert_eq!(whose(&["a"]), Some(ROOT));
        assert_eq!(whose(&["a", "b"]), Some(65534));
        assert_eq!(
            whose(&["a", "b", "c"]),
            Some(65534),
            "root's below a stranger's"
        );
    }

    #[test]
    fn a_directory_that_is_no_cgroup_was_made_by_nobody_known() {
        let top = tempfile::tempdir().unwrap();

        assert_eq!(of(top.path(), []), None);
        assert_eq!(of(Path::new("/nowhere"), []), None);
    }
}
