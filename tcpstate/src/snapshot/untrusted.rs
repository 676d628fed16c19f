//! Files that others chose: what a path leads to, found without waiting for anybody.
//!
//! A FIFO waits for a partner, and a file system may be served by another machine or by
//! a process of its user, who need not answer. So nothing here is opened before it is
//! known what it is, and no path is walked that is not in memory already.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, Statx, StatxFlags};
use rustix::io::Errno;

use super::proc;

/// Somebody mounts or renames something at the same moment, of which a busy machine has
/// many: the kernel is asked again after these pauses.
const PAUSES: [Duration; 4] = [
    Duration::ZERO,
    Duration::from_micros(50),
    Duration::from_micros(200),
    Duration::from_millis(1),
];
/// How long a file server has to answer. What is in memory takes microseconds.
const PATIENCE: Duration = Duration::from_millis(50);
/// Threads that may wait for file servers that do not answer.
const MAX_WAITING: usize = 4;

/// A handle (`O_PATH`) of what a path leads to, which is not opened. Links are followed.
///
/// The path is one of `/proc`, one below the root of another process
/// (`/proc/PID/root/…`), or one of our own view.
pub(super) fn locate(path: &Path) -> io::Result<OwnedFd> {
    if let Some((root, below)) = split_at_root(path) {
        let root = follow(&root)?;
        return walk(root, &below, ResolveFlags::IN_ROOT);
    }
    if path.starts_with(proc::root()) || path.starts_with("/proc") {
        return follow(path);
    }
    walk(CWD, path, ResolveFlags::empty())
}

/// What is known of a file without asking who serves it.
pub(super) fn stat(handle: impl AsFd) -> rustix::io::Result<Statx> {
    const AT_STATX_DONT_SYNC: AtFlags = AtFlags::from_bits_retain(0x4000);
    let wanted = StatxFlags::INO | StatxFlags::TYPE | StatxFlags::MNT_ID;
    let how = AtFlags::EMPTY_PATH | AtFlags::NO_AUTOMOUNT | AT_STATX_DONT_SYNC;
    rustix::fs::statx(handle, "", how, wanted)
}

/// Opens what a handle is of, for reading.
pub(super) fn open(handle: impl AsFd) -> io::Result<File> {
    let link = format!("/proc/thread-self/fd/{}", handle.as_fd().as_raw_fd());
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(link, flags, Mode::empty())?.into())
}

/// Runs `read` in a thread of its own and waits for it a moment. `None`: a file server
/// did not answer in time, or has not answered the last few times.
pub(super) fn in_time<T: Send + 'static>(read: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    static WAITING: AtomicUsize = AtomicUsize::new(0);
    if WAITING.fetch_add(1, Ordering::Relaxed) >= MAX_WAITING {
        WAITING.fetch_sub(1, Ordering::Relaxed);
        return None;
    }
    let (answer, answered) = mpsc::sync_channel(1);
    let reader = std::thread::Builder::new()
        .name("reader".to_owned())
        .spawn(move || {
            let _ = answer.send(read());
            WAITING.fetch_sub(1, Ordering::Relaxed);
        });
    if reader.is_err() {
        WAITING.fetch_sub(1, Ordering::Relaxed);
    }
    answered.recv_timeout(PATIENCE).ok()
}

/// A path that the kernel itself resolves.
fn follow(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(
        path,
        OFlags::PATH | OFlags::CLOEXEC,
        Mode::empty(),
    )?)
}

/// A path through directories that anybody may have changed: only as far as it is in
/// memory, as that of everything is on which something is mounted.
fn walk(from: impl AsFd, path: &Path, besides: ResolveFlags) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let only = ResolveFlags::CACHED | ResolveFlags::NO_MAGICLINKS | besides;
    for pause in PAUSES {
        std::thread::sleep(pause);
        match rustix::fs::openat2(&from, path, flags, Mode::empty(), only) {
            Err(Errno::AGAIN) => {}
            // Before Linux 5.12 nobody can tell what is in memory.
            Err(Errno::INVAL) => {
                let (from, path) = (duplicate(from)?, path.to_owned());
                let only = ResolveFlags::NO_MAGICLINKS | besides;
                let found = in_time(move || match &from {
                    Some(from) => rustix::fs::openat2(from, path, flags, Mode::empty(), only),
                    None => rustix::fs::openat2(CWD, path, flags, Mode::empty(), only),
                });
                return Ok(found.ok_or(Errno::TIMEDOUT)??);
            }
            result => return Ok(result?),
        }
    }
    Err(Errno::AGAIN.into())
}

/// `None`: it is the current directory.
fn duplicate(from: impl AsFd) -> io::Result<Option<OwnedFd>> {
    if from.as_fd().as_raw_fd() == CWD.as_raw_fd() {
        return Ok(None);
    }
    from.as_fd().try_clone_to_owned().map(Some)
}

/// `/proc/7/root/run/x` -> `/proc/7/root`, `run/x`.
fn split_at_root(path: &Path) -> Option<(PathBuf, PathBuf)> {
    let top = [proc::root(), Path::new("/proc")]
        .into_iter()
        .find(|top| path.starts_with(top))?;
    let mut below = path.strip_prefix(top).ok()?.components();
    let process = below.next()?;
    let is_root = below.next() == Some(Component::Normal("root".as_ref()));
    let rest = below.as_path();
    let is_below = is_root && !rest.as_os_str().is_empty();
    is_below.then(|| (top.join(process).join("root"), rest.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn a_fifo_is_located_and_waits_for_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fifo");
        rustix::fs::mknodat(CWD, &path, rustix::fs::FileType::Fifo, Mode::RUSR, 0).unwrap();
        let ways = [path.clone(), through_root(&path)];

        for path in ways {
            let handle = locate(&path).unwrap();
            let seen = stat(&handle).unwrap();
            assert_eq!(u32::from(seen.stx_mode) & libc::S_IFMT, libc::S_IFIFO);
            // Should it come to that: without a writer, at once.
            assert!(open(&handle).is_ok());
        }
    }

    #[test]
    fn a_file_is_the_same_by_each_way_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "x").unwrap();
        std::os::unix::fs::symlink(&path, folder.path().join("link")).unwrap();
        let inode = std::fs::metadata(&path).unwrap().ino();
        let of = |path: &Path| stat(locate(path).unwrap()).unwrap().stx_ino;

        assert_eq!(of(&path), inode);
        assert_eq!(of(&folder.path().join("link")), inode);
        assert_eq!(of(&through_root(&path)), inode);
        assert!(locate(&folder.path().join("none")).is_err());
        assert!(locate(&through_root(&folder.path().join("none"))).is_err());
    }

    #[test]
    fn the_root_of_a_process_is_told_from_what_is_below_it() {
        let split = |path: &str| {
            let (root, below) = split_at_root(Path::new(path))?;
            Some((root.display().to_string(), below.display().to_string()))
        };

        let found = split("/proc/7/root/run/x").unwrap();
        assert_eq!((&*found.0, &*found.1), ("/proc/7/root", "run/x"));
        assert_eq!(split("/proc/7/root"), None);
        assert_eq!(split("/proc/7/ns/net"), None);
        assert_eq!(split("/run/7/root/x"), None);
    }

    #[test]
    fn who_does_not_answer_is_not_waited_for() {
        assert_eq!(in_time(|| 7), Some(7));
        let (let_go, held) = mpsc::channel::<()>();
        let waited = in_time(move || held.recv().is_err());
        drop(let_go);

        assert_eq!(waited, None);
    }

    fn through_root(path: &Path) -> PathBuf {
        Path::new("/proc/self/root").join(path.strip_prefix("/").unwrap())
    }
}
