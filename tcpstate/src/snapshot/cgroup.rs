//! cgroup v2: from the id that the kernel gives to a path, and from the path
//! to a container.

mod container;

use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd};
use std::path::Path;
use std::sync::Arc;

pub use container::Container;

/// The mounted cgroup v2 hierarchy.
#[derive(Clone, Debug)]
pub struct Hierarchy {
    root: Arc<File>,
    mounted_at: Arc<str>,
}

/// Where it is mounted: the usual place, and where hybrid set-ups put it.
const MOUNT_POINTS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
/// `FILEID_KERNFS`: a handle that is the cgroup's id.
const FILEID_KERNFS: i32 = 0xfe;

/// `struct file_handle` with room for the id.
#[repr(C)]
struct Handle {
    bytes: u32,
    kind: i32,
    id: u64,
}

impl Hierarchy {
    /// The hierarchy of this host, if there is one.
    #[must_use]
    pub fn open() -> Option<Self> {
        let mounted_at = MOUNT_POINTS
            .into_iter()
            .find(|path| Path::new(path).join("cgroup.controllers").exists())?;
        Some(Self {
            root: Arc::new(File::open(mounted_at).ok()?),
            mounted_at: Arc::from(mounted_at),
        })
    }

    /// Path of the cgroup with this id, from the root of the hierarchy.
    #[must_use]
    #[expect(unsafe_code, reason = "no safe wrapper for open_by_handle_at")]
    pub fn path(&self, id: u64) -> Option<Arc<str>> {
        let mut handle = Handle {
            bytes: 8,
            kind: FILEID_KERNFS,
            id,
        };
        // SAFETY: the descriptor is open, and the handle says how long it is;
        // the kernel only reads it.
        let fd = unsafe {
            libc::open_by_handle_at(
                self.root.as_raw_fd(),
                (&raw mut handle).cast(),
                libc::O_PATH | libc::O_CLOEXEC,
            )
        };
        if fd < 0 {
            return None;
        }
        // SAFETY: just opened, owned by nobody else.
        let dir = unsafe { File::from_raw_fd(fd) };
        let path = std::fs::read_link(format!("/proc/self/fd/{}", dir.as_raw_fd())).ok()?;
        let path = path.to_str()?.strip_prefix(&*self.mounted_at)?;
        Some(Arc::from(if path.is_empty() { "/" } else { path }))
    }
}

/// The innermost container that a cgroup path belongs to.
#[must_use]
pub fn container(path: &str) -> Option<Container> {
    container::of_path(path)
}

/// A process's cgroup v2 path and its container, from `/proc/PID/cgroup`.
///
/// Where containers still use cgroup v1, its hierarchies name the container.
#[must_use]
pub fn membership(text: &str) -> (Option<Arc<str>>, Option<Container>) {
    let paths = || text.lines().filter_map(|line| line.splitn(3, ':').nth(2));
    let unified = text.lines().find_map(|line| line.strip_prefix("0::"));
    let found = unified
        .and_then(container)
        .or_else(|| paths().find_map(container));
    (unified.map(Arc::from), found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_container_of_a_hybrid_host_is_found_in_its_version_1_hierarchies() {
        let id = "4f".repeat(32);
        let text = format!("12:pids:/docker/{id}\n1:name=systemd:/docker/{id}\n0::/system.slice\n");

        let (path, container) = membership(&text);

        assert_eq!(path.as_deref(), Some("/system.slice"));
        let container = container.unwrap();
        assert_eq!((&*container.id, container.runtime), (&*id, Some("docker")));
        assert_eq!(membership("4:memory:/\n"), (None, None));
    }
}
