//! Where processes are looked up: `/proc`, or, in a container with processes
//! of its own, another mount that shows those of the whole host.
//!
//! The kernel program names processes by the numbers of the initial pid
//! namespace. In another one the same numbers mean other processes.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// `PROC_PID_INIT_INO`: the kernel gives this number to the initial pid
/// namespace, always.
const INITIAL: &str = "pid:[4026531836]";

/// A mount of procfs.
#[derive(Debug)]
struct View {
    root: PathBuf,
    is_of_host: bool,
}

/// Where the processes of the host are listed or, if they are nowhere, those
/// that we see.
#[must_use]
pub fn root() -> &'static Path {
    &view().root
}

/// The directory of a process.
#[must_use]
pub fn of(pid: u32) -> PathBuf {
    root().join(pid.to_string())
}

/// Whether processes have the numbers there that the kernel program tells.
#[must_use]
pub fn has_numbers_of_the_host() -> bool {
    view().is_of_host
}

fn view() -> &'static View {
    static VIEW: OnceLock<View> = OnceLock::new();
    VIEW.get_or_init(find)
}

fn find() -> View {
    let at = |root: &str, is_of_host| View {
        root: PathBuf::from(root),
        is_of_host,
    };
    if fs::read_link("/proc/self/ns/pid").is_ok_and(|own| own == Path::new(INITIAL)) {
        return at("/proc", true);
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    mounts
        .lines()
        .filter_map(mount_of_proc)
        .find(|root| shows_kernel_threads(Path::new(root)))
        .map_or_else(|| at("/proc", false), |root| at(root, true))
}

/// Kernel threads are in the initial pid namespace alone; their parent is
/// number 2.
fn shows_kernel_threads(root: &Path) -> bool {
    let parent = root.join("2");
    fs::read(parent.join("comm")).is_ok_and(|comm| comm == b"kthreadd\n")
        && fs::read(parent.join("cmdline")).is_ok_and(|words| words.is_empty())
}

/// The place of a line of `mountinfo`, if procfs is mounted there as a whole.
fn mount_of_proc(line: &str) -> Option<&str> {
    let (mount, kind) = line.split_once(" - ")?;
    let mut words = mount.split(' ').skip(3);
    let (root, place) = (words.next()?, words.next()?);
    (kind.starts_with("proc ") && root == "/").then_some(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_threads_are_where_the_host_is() {
        let own = fs::read_link("/proc/self/ns/pid").unwrap();

        let is_host = shows_kernel_threads(Path::new("/proc"));

        assert_eq!(is_host, own == Path::new(INITIAL));
        assert!(!shows_kernel_threads(Path::new("/nowhere")));
    }

    #[test]
    fn a_mount_of_proc_is_told_from_others() {
        let host = "75 61 0:22 / /host/proc rw,nosuid shared:13 - proc proc rw";
        let masked = "76 61 0:22 /sys /proc/sys ro - proc proc rw";
        let tmpfs = "77 61 0:30 / /proc/kcore rw - tmpfs tmpfs rw";

        assert_eq!(mount_of_proc(host), Some("/host/proc"));
        assert_eq!(mount_of_proc(masked), None);
        assert_eq!(mount_of_proc(tmpfs), None);
    }
}
