//! Sockets that no list of descriptors shows: registered files of an `io_uring`, the
//! descriptors of a thread that does not share those of its process, and the one that a thread
//! is inside `accept` on.
//!
//! It takes a pass over all descriptors and threads of the host, so it comes last.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{pids, socket_inode};
use crate::clock;
use crate::event::HeldIn;
use crate::snapshot::proc;

/// Before each time that a ring is read.
const RING_PAUSES: [Duration; 4] = [
    Duration::ZERO,
    Duration::from_micros(100),
    Duration::from_millis(1),
    Duration::from_millis(5),
];
/// What the link of an `io_uring`'s descriptor says.
const RING: &[u8] = b"anon_inode:[io_uring]";
/// Tables of open files of one process that are told apart.
const MAX_TABLES: usize = 8;
/// `KCMP_FILES` of `linux/kcmp.h`: do two tasks share their descriptors?
const KCMP_FILES: libc::c_long = 2;

/// Socket, process, and where it has it.
pub(super) type SocketInThread = (u64, u32, HeldIn);

/// Where these sockets are, as far as the time allows. The first: all was looked through.
///
/// Processes that may not be looked into are left out.
pub(super) fn search(inodes: &BTreeSet<u64>, until_ns: u64) -> (bool, Vec<SocketInThread>) {
    let mut found = BTreeSet::new();
    let mut is_whole = true;
    // What a thread waits on nothing says: of several sockets none is concluded.
    let only = inodes.first().copied().filter(|_| inodes.len() == 1);
    let mut accepting = BTreeSet::new();
    for pid in pids() {
        let folder = proc::of(pid);
        let threads = threads_with_own_table(pid, &folder);
        let own = threads
            .into_iter()
            .map(|thread| (Some(HeldIn::Thread), folder.join(format!("task/{thread}"))));
        for (held_in, task) in std::iter::once((None, folder.clone())).chain(own) {
            if clock::monotonic_ns() >= until_ns {
                return (false, found.into_iter().collect());
            }
            is_whole &= read_tables(&task, until_ns, |inode, is_registered| {
                let held_in = if is_registered {
                    Some(HeldIn::IoUring)
                } else {
                    held_in
                };
                if let Some(held_in) = held_in.filter(|_| inodes.contains(&inode)) {
                    found.insert((inode, pid, held_in));
                }
            });
        }
        if let Some(inode) = only
            && tasks(&folder).any(|task| is_inside_accept(&task) && listens_there(&task, inode))
        {
            accepting.insert(pid);
        }
    }
    if let (Some(inode), true, 1, Some(pid)) =
        (only, found.is_empty(), accepting.len(), accepting.first())
    {
        found.insert((inode, *pid, HeldIn::Accept));
    }
    (is_whole, found.into_iter().collect())
}

/// Hands out the sockets of one table of open files, and whether it is the ring of one of
/// its descriptors that has them. `false`: a ring did not say what it has.
fn read_tables(task: &Path, until_ns: u64, mut take: impl FnMut(u64, bool)) -> bool {
    let mut is_whole = true;
    let entries = fs::read_dir(task.join("fd"))
        .into_iter()
        .flatten()
        .flatten();
    for entry in entries {
        let Ok(link) = fs::read_link(entry.path()) else {
            continue;
        };
        let link = link.as_os_str().as_bytes();
        if let Some(inode) = socket_inode(link) {
            take(inode, false);
        } else if link == RING {
            if clock::monotonic_ns() >= until_ns {
                return false;
            }
            match files_of_ring(&task.join("fdinfo").join(entry.file_name())) {
                Some(info) => registered(&info).for_each(|inode| take(inode, true)),
                None => is_whole = false,
            }
        }
    }
    is_whole
}

/// What the kernel says of a ring; `None`: not what files it has. It says so only where
/// nobody else, another reader of it included, uses the ring at that moment.
fn files_of_ring(path: &Path) -> Option<Vec<u8>> {
    for pause in RING_PAUSES {
        std::thread::sleep(pause);
        // A descriptor that is closed by now has no files.
        let Ok(info) = fs::read(path) else {
            return Some(Vec::new());
        };
        if info.split(|byte| *byte == b'\n').any(is_heading) {
            return Some(info);
        }
    }
    None
}

fn is_heading(line: &[u8]) -> bool {
    line.starts_with(b"UserFiles:")
}

/// The sockets of `UserFiles: 2` and the lines behind it, such as `    0: socket:[123]`.
fn registered(info: &[u8]) -> impl Iterator<Item = u64> {
    info.split(|byte| *byte == b'\n')
        .skip_while(|line| !is_heading(line))
        .skip(1)
        .take_while(|line| line.starts_with(b" "))
        .filter_map(|line| {
            let at = line.iter().position(|byte| *byte == b':')?;
            socket_inode(line.get(at + 1..)?.trim_ascii())
        })
}

/// The folders of a process's threads.
fn tasks(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(folder.join("task"));
    let entries = entries.into_iter().flatten().flatten();
    entries.map(|entry| entry.path())
}

/// Whether a thread waits in `accept` on a descriptor that is no socket any more.
fn is_inside_accept(task: &Path) -> bool {
    let Ok(call) = fs::read_to_string(task.join("syscall")) else {
        return false;
    };
    let mut words = call.split(' ');
    let number = words.next().and_then(|word| word.parse().ok());
    let descriptor = words
        .next()
        .and_then(|word| u32::from_str_radix(word.trim_start_matches("0x"), 16).ok());
    let (Some(number), Some(descriptor)) = (number, descriptor) else {
        return false;
    };
    let is_socket = || {
        let link = fs::read_link(task.join("fd").join(descriptor.to_string()));
        link.is_ok_and(|link| socket_inode(link.as_os_str().as_bytes()).is_some())
    };
    [libc::SYS_accept, libc::SYS_accept4].contains(&number) && !is_socket()
}

/// Whether a socket listens in a thread's network namespace.
fn listens_there(task: &Path, inode: u64) -> bool {
    const LISTEN: &str = "0A";
    let inode = inode.to_string();
    ["net/tcp", "net/tcp6"].into_iter().any(|table| {
        let Ok(table) = File::open(task.join(table)) else {
            return false;
        };
        let lines = BufReader::new(table).lines().map_while(Result::ok).skip(1);
        // The kernel lists those that listen before all others.
        let state_of = |line: &str| line.split_whitespace().nth(3).map(str::to_owned);
        let mut listening = lines.take_while(|line| state_of(line).as_deref() == Some(LISTEN));
        listening.any(|line| line.split_whitespace().nth(9) == Some(inode.as_str()))
    })
}

/// One thread for each table of open files that is not its process's, the one of a process
/// whose first thread has ended among them.
fn threads_with_own_table(pid: u32, folder: &Path) -> Vec<u32> {
    // Where processes have other numbers, they cannot be compared.
    if !proc::has_our_numbers() {
        return Vec::new();
    }
    let mut tables = vec![pid];
    let threads = tasks(folder).filter_map(|task| task.file_name()?.to_str()?.parse().ok());
    for thread in threads.filter(|thread| *thread != pid) {
        if tables.len() > MAX_TABLES {
            break;
        }
        if tables
            .iter()
            .all(|known| have_different_files(*known, thread))
        {
            tables.push(thread);
        }
    }
    tables.split_off(1)
}

/// Whether the kernel says so; where it refuses to compare they may be the same.
#[expect(unsafe_code, reason = "rustix has no kcmp(2)")]
fn have_different_files(one: u32, other: u32) -> bool {
    // SAFETY: numbers alone are handed over.
    let order = unsafe {
        libc::syscall(
            libc::SYS_kcmp,
            libc::c_long::from(one),
            libc::c_long::from(other),
            KCMP_FILES,
            0,
            0,
        )
    };
    order > 0
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd as _;
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn registered_files_stand_behind_their_number() {
        let info = b"pos:\t0\nUserFiles:\t3\n    0: socket:[123]\n    1: <none>\n   12: socket:[9]\nUserBufs:\t1\n    0: socket:[7]\n";

        assert_eq!(registered(info).collect::<Vec<_>>(), [123, 9]);
        assert_eq!(registered(b"UserFiles:\n 0: \n x").count(), 0);
        assert_eq!(registered(b"").count(), 0);
    }

    #[test]
    fn a_socket_of_a_thread_with_descriptors_of_its_own_is_found() {
        let (sender, inode) = mpsc::channel();
        let (stop, stopped) = mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            #[expect(unsafe_code, reason = "this thread alone is concerned")]
            // SAFETY: nobody else is to use this thread's descriptors.
            unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::FILES) }.unwrap();
            let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            let link = format!("/proc/thread-self/fd/{}", socket.as_raw_fd());
            let link = fs::read_link(link).unwrap();
            sender
                .send(socket_inode(link.as_os_str().as_bytes()).unwrap())
                .unwrap();
            let _ = stopped.recv();
        });
        let inode = inode.recv().unwrap();

        let (is_whole, found) = search(&BTreeSet::from([inode]), u64::MAX);

        assert!(is_whole);
        assert_eq!(found, [(inode, std::process::id(), HeldIn::Thread)]);
        drop(stop);
        thread.join().unwrap();
    }

    #[test]
    fn without_time_nothing_is_said_to_be_whole() {
        assert_eq!(search(&BTreeSet::from([1]), 0), (false, Vec::new()));
    }
}
