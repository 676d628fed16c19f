//! Which file a process's program is, and the language that the file shows it was
//! written in.
//!
//! Go and Rust leave a mark in the ELF file that survives stripping; programs
//! that run in an interpreter are known by the interpreter's name.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::Statx;

use super::{proc, untrusted};
use crate::event::FileId;

/// Sections of one file that are looked at; a usual program has 30 to 40.
const MAX_SECTIONS: usize = 512;
/// Bytes of a section that are looked at.
const MAX_BYTES: usize = 64 * 1024;

/// `go` or `rust`; `None`: the file shows neither, or cannot be read.
#[must_use]
pub fn language(pid: u32) -> Option<Arc<str>> {
    // Through this link the file is found in its own mount namespace, and also
    // after it was replaced. Who serves its file system need not answer.
    let exe = untrusted::locate(&proc::of(pid).join("exe")).ok()?;
    let read = move || language_of(&untrusted::open(exe).ok()?);
    untrusted::in_time(read)?.map(Arc::from)
}

/// Whether a process's program is this file.
#[must_use]
pub fn is_program(pid: u32, file: FileId) -> bool {
    let seen = untrusted::locate(&proc::of(pid).join("exe"))
        .ok()
        .and_then(|exe| untrusted::stat(exe).ok());
    seen.is_some_and(|seen| is_same(file, file_id(&seen), || device_of_mount(pid, &seen)))
}

/// What the kernel has and what `stat` says. Some file systems (btrfs, overlayfs) show
/// another device there than their own, which is the one that they are mounted with.
fn is_same(file: FileId, shown: FileId, mounted: impl FnOnce() -> Option<(u32, u32)>) -> bool {
    let device = (file.dev_major, file.dev_minor);
    file.inode == shown.inode
        && (device == (shown.dev_major, shown.dev_minor) || mounted() == Some(device))
}

fn file_id(seen: &Statx) -> FileId {
    FileId {
        dev_major: seen.stx_dev_major,
        dev_minor: seen.stx_dev_minor,
        inode: seen.stx_ino,
    }
}

/// Device of the file system that is mounted where the file is; `None`: the kernel does
/// not tell (before Linux 5.8), or it is mounted nowhere.
fn device_of_mount(pid: u32, seen: &Statx) -> Option<(u32, u32)> {
    let mounts = fs::read_to_string(proc::of(pid).join("mountinfo")).ok()?;
    device_in(&mounts, seen.stx_mnt_id)
}

fn device_in(mounts: &str, id: u64) -> Option<(u32, u32)> {
    mounts.lines().find_map(|line| {
        let mut words = line.split(' ');
        let is_it = words.next()?.parse() == Ok(id);
        let (major, minor) = words.nth(1)?.split_once(':')?;
        is_it.then_some((major.parse().ok()?, minor.parse().ok()?))
    })
}

/// Whether the file at `path`, as we see it, is a process's program. The path may be one
/// of another mount namespace.
#[must_use]
pub fn is_at(pid: u32, path: &str) -> bool {
    if !path.starts_with('/') || path.ends_with(DELETED) {
        return false;
    }
    let at = |path: &Path| untrusted::stat(untrusted::locate(path).ok()?).ok();
    let program = at(&proc::of(pid).join("exe"));
    // A path that leads elsewhere for everybody.
    let leads = [proc::root(), Path::new("/proc")];
    let found = if leads.iter().any(|top| Path::new(path).starts_with(top)) {
        None
    } else {
        at(Path::new(path))
    };
    program
        .zip(found)
        .is_some_and(|(program, found)| file_id(&program) == file_id(&found))
}

/// What the kernel adds to the path of a file that is gone.
const DELETED: &str = " (deleted)";

fn language_of(file: &File) -> Option<&'static str> {
    let header: [u8; 64] = read(file, 0)?;
    // 64 bits, little-endian: what the BPF program runs on.
    if header.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let table_at = u64_at(&header, 0x28)?;
    let entry_len = u64::from(u16_at(&header, 0x3a)?);
    let count = u64::from(u16_at(&header, 0x3c)?);
    let names_index = u64::from(u16_at(&header, 0x3e)?);
    let section = |index: u64| -> Option<[u8; 64]> {
        read(file, table_at.checked_add(index.checked_mul(entry_len)?)?)
    };
    let names = contents(file, &section(names_index)?)?;
    let mut comment = None;
    for index in 0..count.min(MAX_SECTIONS as u64) {
        let entry = section(index)?;
        let name = names.get(usize::try_from(u32_at(&entry, 0)?).ok()?..)?;
        if name.starts_with(b".go.buildinfo\0") || name.starts_with(b".note.go.buildid\0") {
            return Some("go");
        }
        if name.starts_with(b".comment\0") {
            comment = contents(file, &entry);
        }
    }
    let is_rust = comment.is_some_and(|text| {
        text.windows(b"rustc version".len())
            .any(|words| words == b"rustc version")
    });
    is_rust.then_some("rust")
}

/// What a section holds, as far as it is looked at.
fn contents(file: &File, entry: &[u8]) -> Option<Vec<u8>> {
    let at = u64_at(entry, 0x18)?;
    let len = usize::try_from(u64_at(entry, 0x20)?).unwrap_or(MAX_BYTES);
    let mut bytes = vec![0; len.min(MAX_BYTES)];
    file.read_exact_at(&mut bytes, at).ok()?;
    Some(bytes)
}

fn read<const N: usize>(file: &File, at: u64) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    file.read_exact_at(&mut bytes, at).ok()?;
    Some(bytes)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_test_is_a_rust_program_and_the_shell_is_none() {
        assert_eq!(language(std::process::id()).as_deref(), Some("rust"));
        let shell = File::open("/bin/sh").unwrap();
        assert_eq!(language_of(&shell), None);
    }

    #[test]
    fn a_program_is_the_file_that_the_kernel_has_for_it() {
        let file = FileId {
            dev_major: 259,
            dev_minor: 3,
            inode: 77,
        };
        let shown = |dev_minor, inode| FileId {
            dev_minor,
            inode,
            ..file
        };
        let nowhere = || None;

        assert!(is_same(file, shown(3, 77), nowhere));
        assert!(!is_same(file, shown(3, 78), nowhere));
        assert!(!is_same(file, shown(4, 77), nowhere));
        // A file system that shows another device than its own.
        assert!(is_same(file, shown(4, 77), || Some((259, 3))));
        assert!(!is_same(file, shown(4, 78), || Some((259, 3))));
        assert!(!is_same(file, shown(4, 77), || Some((0, 3))));
    }

    #[test]
    fn the_device_of_a_mount_is_found_by_its_number() {
        let mounts = "21 1 259:3 / / rw - btrfs /dev/x rw\n211 21 0:5 / /a rw - tmpfs a rw\n";

        assert_eq!(device_in(mounts, 21), Some((259, 3)));
        assert_eq!(device_in(mounts, 211), Some((0, 5)));
        assert_eq!(device_in(mounts, 2), None);
        assert_eq!(device_in("21\n21 1 x:3\n", 21), None);
    }

    #[test]
    fn ones_own_program_is_where_its_link_says() {
        let pid = std::process::id();
        let exe = fs::read_link("/proc/self/exe").unwrap();
        let exe = exe.to_str().unwrap();
        let seen =
            |path: &str| untrusted::stat(untrusted::locate(Path::new(path)).unwrap()).unwrap();
        let own = file_id(&seen(exe));

        assert!(is_program(pid, own) && is_at(pid, exe));
        let other = file_id(&seen("/bin/sh"));
        assert!(!is_program(pid, other) && !is_at(pid, "/bin/sh"));
        assert!(!is_at(pid, &format!("{exe}{DELETED}")));
        assert!(!is_at(pid, exe.trim_start_matches('/')));
        assert!(
            !is_at(pid, "/proc/self/exe"),
            "leads elsewhere for everybody"
        );
        assert!(device_of_mount(pid, &seen("/proc/self/exe")).is_some());
    }

    #[test]
    fn a_go_program_is_known_by_a_section_of_its_own() {
        assert_eq!(language_of(&elf(&[".text", ".go.buildinfo"])), Some("go"));
        assert_eq!(language_of(&elf(&[".text", ".data"])), None);
    }

    #[test]
    fn a_file_that_ends_too_early_says_nothing() {
        let whole = elf(&[".text", ".go.buildinfo"]);
        let len = whole.metadata().unwrap().len();
        for cut in 0..len {
            let file = tempfile::tempfile().unwrap();
            let mut bytes = vec![0; usize::try_from(cut).unwrap()];
            whole.read_exact_at(&mut bytes, 0).unwrap();
            file.write_all_at(&bytes, 0).unwrap();
            assert_eq!(language_of(&file), None, "{cut}");
        }
    }

    /// A file with these sections, the last of which holds their names.
    fn elf(names: &[&str]) -> File {
        let mut strings = Vec::new();
        let mut starts = Vec::new();
        for name in names.iter().chain(&[".shstrtab"]) {
            starts.push(u32::try_from(strings.len()).unwrap());
            strings.extend(name.bytes());
            strings.push(0);
        }
        let mut bytes = b"\x7fELF\x02\x01".to_vec();
        bytes.resize(64, 0);
        let table_at = 64 + u64::try_from(strings.len()).unwrap();
        bytes[0x28..0x30].copy_from_slice(&table_at.to_le_bytes());
        bytes[0x3a..0x3c].copy_from_slice(&64_u16.to_le_bytes());
        let count = u16::try_from(starts.len()).unwrap();
        bytes[0x3c..0x3e].copy_from_slice(&count.to_le_bytes());
        bytes[0x3e..0x40].copy_from_slice(&(count - 1).to_le_bytes());
        bytes.extend(&strings);
        for start in starts {
            let mut entry = [0; 64];
            entry[..4].copy_from_slice(&start.to_le_bytes());
            entry[0x18..0x20].copy_from_slice(&64_u64.to_le_bytes());
            let len = u64::try_from(strings.len()).unwrap();
            entry[0x20..0x28].copy_from_slice(&len.to_le_bytes());
            bytes.extend(entry);
        }
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&bytes, 0).unwrap();
        file
    }
}
