//! cgroup v2: from the id that the kernel gives to a path, and from the path
//! to a container, a service, and who made them.

mod container;
mod owner;
mod unit;

use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use container::Container;
pub use unit::Units;

/// The mounted cgroup v2 hierarchy.
#[derive(Clone, Debug)]
pub struct Hierarchy {
    root: Arc<File>,
    mounted_at: Arc<str>,
}

/// Where it is mounted: the usual place, and where hybrid set-ups put it.
const MOUNT_POINTS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
/// Below this the hierarchies of version 1 are mounted, each under its name.
const VERSION_1: &str = "/sys/fs/cgroup";
/// `FILEID_KERNFS`: a handle that is the cgroup's id.
const FILEID_KERNFS: i32 = 0xfe;

/// `struct file_handle` with room for the id.
#[repr(C)]
struct CgroupHandle {
    bytes: u32,
    kind: i32,
    id: u64,
}

impl Hierarchy {
    /// The hierarchy of this host, if there is one.
    #[must_use]
    pub fn open() -> Option<Self> {
        let mounted_at = mounted_at()?;
        Some(Self {
            root: Arc::new(File::open(mounted_at).ok()?),
            mounted_at: Arc::from(mounted_at),
        })
    }

    /// Path of the cgroup with this id, from the root of the hierarchy.
    #[must_use]
    #[expect(unsafe_code, reason = "no safe wrapper for open_by_handle_at")]
    pub fn path(&self, id: u64) -> Option<Arc<str>> {
        let mut handle = CgroupHandle {
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

fn mounted_at() -> Option<&'static str> {
    MOUNT_POINTS
        .into_iter()
        .find(|path| Path::new(path).join("cgroup.controllers").exists())
}

/// The folder of our own cgroup of version 2.
#[must_use]
pub fn own_folder() -> Option<PathBuf> {
    let text = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(Path::new(mounted_at()?).join(path))
}

/// Whether version 2 is all there is, so that its path names every container.
#[must_use]
pub fn is_alone() -> bool {
    mounted_at() == Some(MOUNT_POINTS[0])
}

/// Whether the control group of this cgroup v2 path, or one above it, is frozen.
#[must_use]
pub fn is_frozen(path: &str) -> bool {
    let events = (!path.contains("..")).then(|| {
        let file = format!("{}{path}/cgroup.events", mounted_at()?);
        std::fs::read_to_string(file).ok()
    });
    events
        .flatten()
        .is_some_and(|events| events.lines().any(|line| line == "frozen 1"))
}

/// The innermost container that a cgroup path belongs to.
#[must_use]
pub fn container(path: &str) -> Option<Container> {
    container::of_path(path).map(|(container, _)| container)
}

/// The user who made the cgroup that names the container of this cgroup v2 path: root,
/// if root made every one on the way to it. `None`: there is no container, or one of them
/// cannot be looked at.
#[must_use]
pub fn container_uid(path: &str) -> Option<u32> {
    let (_, depth) = container::of_path(path)?;
    let names = container::components(path).take(depth);
    owner::of(Path::new(mounted_at()?), names)
}

/// What `/proc/PID/cgroup` says of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    /// Its path in the hierarchy of version 2.
    pub path: Option<Arc<str>>,
    /// Its container.
    pub container: Option<Container>,
    named_in: Option<NamedIn>,
}

/// Where a container's name was found.
#[derive(Clone, Debug, PartialEq, Eq)]
enum NamedIn {
    Version2,
    /// Where the hierarchy is mounted, and the path in it.
    Version1(String, String),
}

impl Membership {
    /// Reads it. Where containers still use cgroup v1, its hierarchies name the container.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let path = text.lines().find_map(|line| line.strip_prefix("0::"));
        let in_version_2 = || Some((container(path?)?, NamedIn::Version2));
        let in_version_1 = || {
            text.lines().find_map(|line| {
                let (_, rest) = line.split_once(':')?;
                let (controllers, path) = rest.split_once(':')?;
                let name = controllers.strip_prefix("name=").unwrap_or(controllers);
                let named_in = NamedIn::Version1(name.to_owned(), path.to_owned());
                Some((container(path)?, named_in))
            })
        };
        let (container, named_in) = in_version_2().or_else(in_version_1).unzip();
        Self {
            path: path.map(Arc::from),
            container,
            named_in,
        }
    }

    /// The user who made the cgroup that names the container: root, if root made every
    /// one on the way to it. `None`: not known.
    #[must_use]
    pub fn container_uid(&self) -> Option<u32> {
        match self.named_in.as_ref()? {
            NamedIn::Version2 => container_uid(self.path.as_ref()?),
            NamedIn::Version1(name, path) => {
                if name.is_empty() || name.contains('/') || name.starts_with('.') {
                    return None;
                }
                let (_, depth) = container::of_path(path)?;
                let names = container::components(path).take(depth);
                owner::of(&Path::new(VERSION_1).join(name), names)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_container_of_a_hybrid_host_is_found_in_its_version_1_hierarchies() {
        let id = "4f".repeat(32);
        let text = format!("12:pids:/docker/{id}\n1:name=systemd:/docker/{id}\n0::/system.slice\n");

        let found = Membership::parse(&text);

        assert_eq!(found.path.as_deref(), Some("/system.slice"));
        let container = found.container.as_ref().unwrap();
        assert_eq!((&*container.id, container.runtime), (&*id, Some("docker")));
        let named_in = NamedIn::Version1("pids".into(), format!("/docker/{id}"));
        assert_eq!(found.named_in, Some(named_in));
        // Nobody made it.
        assert_eq!(found.container_uid(), None);
        assert_eq!(Membership::parse("4:memory:/\n"), Membership::default());
    }

    #[test]
    fn a_hierarchy_of_version_1_without_controllers_goes_by_its_name() {
        let id = "4f".repeat(32);

        let found = Membership::parse(&format!("1:name=systemd:/docker/{id}:x/{id}\n"));

        let named_in = NamedIn::Version1("systemd".into(), format!("/docker/{id}:x/{id}"));
        assert_eq!(found.named_in, Some(named_in));
        let elsewhere = Membership::parse(&format!("1:name=../x:/docker/{id}\n"));
        assert_eq!(elsewhere.container_uid(), None);
    }

    #[test]
    fn outside_of_what_we_see_nobody_made_a_cgroup() {
        let id = "4f".repeat(32);

        assert_eq!(container_uid(&format!("/../docker-{id}.scope")), None);
        assert_eq!(container_uid("/system.slice"), None);
    }
}
