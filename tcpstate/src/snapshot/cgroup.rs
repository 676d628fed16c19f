//! cgroup v2: from the id that the kernel gives to a path, and from the path
//! to a container.

use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd};
use std::path::Path;
use std::sync::Arc;

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

/// The container's id, if the path is that of a container: 64 hexadecimal
/// digits, as Docker, containerd, CRI-O and Podman use them.
#[must_use]
pub fn container_id(path: &str) -> Option<Arc<str>> {
    path.rsplit('/').find_map(|part| {
        let part = part.strip_suffix(".scope").unwrap_or(part);
        let id = part.rsplit(['-', ':']).next().unwrap_or(part);
        let is_id = id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_id.then(|| Arc::from(id))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_are_found_in_the_paths_of_all_common_runtimes() {
        let id = "4f".repeat(32);
        let paths = [
            format!("/system.slice/docker-{id}.scope"),
            format!("/docker/{id}"),
            format!("/kubepods.slice/kubepods-pod1.slice/cri-containerd-{id}.scope"),
            format!("/kubepods.slice/kubepods-pod1.slice/crio-{id}.scope"),
            format!("/machine.slice/libpod-{id}.scope/container"),
        ];

        for path in paths {
            assert_eq!(container_id(&path).as_deref(), Some(&*id), "{path}");
        }
    }

    #[test]
    fn services_are_not_containers() {
        assert_eq!(container_id("/system.slice/nginx.service"), None);
        assert_eq!(container_id("/"), None);
    }
}
