//! Where processes are looked up: `/proc`, or, in a container with processes
//! of its own, another mount that shows those of the whole host.
//!
//! The kernel program names processes by the numbers of the initial pid
//! namespace. In another one the same numbers mean other processes.

mod stat;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

pub use stat::Stat;

/// `PROC_PID_INIT_INO`: the kernel gives this number to the initial pid
/// namespace, always.
const INITIAL: &str = "pid:[4026531836]";
/// `PROC_SUPER_MAGIC`.
const PROC_MAGIC: rustix::fs::FsWord = 0x9fa0;
/// The kernel's first threads start in the first second; an emulated machine takes
/// longer. 5 s.
const AT_BOOT_TICKS: u64 = 500;

/// A mount of procfs.
#[derive(Debug)]
struct View {
    root: PathBuf,
    is_of_host: bool,
    is_own: bool,
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

/// What `/proc/PID/stat` says; `None`: the process is gone.
#[must_use]
pub fn stat(pid: u32) -> Option<Stat> {
    Stat::parse(&fs::read(of(pid).join("stat")).ok()?)
}

/// Whether processes have the numbers there that the kernel program reports.
#[must_use]
pub fn has_numbers_of_the_host() -> bool {
    view().is_of_host
}

/// Whether we are in the pid namespace whose processes are listed, so that they
/// have the same numbers in what else the kernel reports.
#[must_use]
pub fn has_our_numbers() -> bool {
    view().is_own
}

fn view() -> &'static View {
    static VIEW: OnceLock<View> = OnceLock::new();
    VIEW.get_or_init(find)
}

fn find() -> View {
    if fs::read_link("/proc/self/ns/pid").is_ok_and(|own| own == Path::new(INITIAL)) {
        return View {
            root: PathBuf::from("/proc"),
            is_of_host: true,
            is_own: true,
        };
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let of_host = mounts
        .lines()
        .filter_map(mount_of_proc)
        .find(|root| is_of_host(Path::new(root)));
    View {
        root: PathBuf::from(of_host.unwrap_or("/proc")),
        is_of_host: of_host.is_some(),
        is_own: of_host.is_none(),
    }
}

/// Whether it is a procfs of the initial pid namespace.
fn is_of_host(root: &Path) -> bool {
    let is_proc = rustix::fs::statfs(root).is_ok_and(|fs| fs.f_type == PROC_MAGIC);
    let first = fs::read_link(root.join("1/ns/pid")).ok();
    let second = || Stat::parse(&fs::read(root.join("2/stat")).ok()?);
    is_proc && shows_host(first.as_deref(), second)
}

/// `first`: the pid namespace of process 1, if we may know it, which settles it.
/// Else process 2 does: only in the initial namespace there are kernel threads, and
/// that is the parent of all of them. Its name would prove nothing.
fn shows_host(first: Option<&Path>, second: impl FnOnce() -> Option<Stat>) -> bool {
    match first {
        Some(namespace) => namespace == Path::new(INITIAL),
        None => second().is_some_and(|stat| {
            stat.is_kernel_thread() && stat.ppid == 0 && stat.start_ticks <= AT_BOOT_TICKS
        }),
    }
}

/// The place of a line of `mountinfo`, if procfs is mounted there as a whole.
fn mount_of_proc(line: &str) -> Option<&str> {
    let (mount, kind) = line.split_once(" - ")?;
    let mut words = mount.split(' ').skip(3);
    let (root, mount_point) = (words.next()?, words.next()?);
    (kind.starts_with("proc ") && root == "/").then_some(mount_point)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_proc_is_the_hosts_where_we_are_in_its_pid_namespace() {
        let own = fs::read_link("/proc/self/ns/pid").unwrap();
        if rustix::process::geteuid().is_root() {
            assert_eq!(is_of_host(Path::new("/proc")), own == Path::new(INITIAL));
        }
        assert!(!is_of_host(Path::new("/nowhere")));
        assert!(!is_of_host(Path::new("/tmp")), "no procfs");
        assert_eq!(stat(std::process::id()).map(|_| ()), Some(()));
    }

    #[test]
    fn the_namespace_of_process_1_settles_whose_it_is() {
        let kernels = || Stat::parse(KTHREADD);

        assert!(shows_host(Some(Path::new(INITIAL)), || None));
        assert!(!shows_host(Some(Path::new("pid:[4026532200]")), kernels));
    }

    #[test]
    fn without_it_the_parent_of_all_kernel_threads_does() {
        let shows = |line: &[u8]| shows_host(None, || Stat::parse(line));

        assert!(shows(KTHREADD));
        // A zombie of that name, and kernel threads that are not the first one.
        assert!(!shows(&line("1", "4228356", "7")));
        assert!(!shows(&line("0", "4228356", "7")));
        assert!(!shows(&line("2", "2129984", "7")));
        assert!(!shows(&line("0", "2129984", "501")));
        assert!(!shows_host(None, || None));
    }

    const KTHREADD: &[u8] = b"2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 0 0 0 20 0 1 0 7 0 0 0\n";

    fn line(ppid: &str, flags: &str, start: &str) -> Vec<u8> {
        format!("2 (kthreadd) Z {ppid} 0 0 0 -1 {flags} 0 0 0 0 0 0 0 0 20 0 1 0 {start} 0 0 0\n")
            .into_bytes()
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
