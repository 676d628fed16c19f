//! Secure files: what a recording holds (command lines, names, addresses) is written
//! only where its owner alone can read it and nobody else can write.

use std::fs::{File, Permissions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

/// Creates the file, or empties it. Only its owner can read it: who runs tcpstate, or
/// under `sudo` who called that.
///
/// One that is there already is used if it is a file with one name that belongs to us
/// or to who called `sudo`, and that nobody else may write to. Nothing is followed,
/// waited for, or changed before that is known.
pub fn create(path: &Path) -> io::Result<File> {
    let mut opened = open(path)?;
    opened.empty()?;
    Ok(opened.file)
}

/// A file that was opened for writing, and not emptied yet.
#[derive(Debug)]
pub(crate) struct Opened {
    file: File,
    /// It was created just now.
    pub(crate) is_new: bool,
}

impl Opened {
    /// Empties the file and makes it private.
    pub(crate) fn empty(&mut self) -> io::Result<&mut File> {
        // One that was created is empty and private, and may be another's by now.
        if !self.is_new {
            // Those who could read an old file cannot read the new content.
            self.file.set_permissions(Permissions::from_mode(0o600))?;
            self.file.set_len(0)?;
        }
        Ok(&mut self.file)
    }
}

/// Opens the file as [`create`] does, and leaves what is in it.
pub(crate) fn open(path: &Path) -> io::Result<Opened> {
    let open = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let new = open | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
    match rustix::fs::open(path, new, Mode::RUSR | Mode::WUSR) {
        Ok(file) => {
            let file = File::from(file);
            // A umask may have taken more.
            file.set_permissions(Permissions::from_mode(0o600))?;
            if let Some((uid, gid)) = invoking_user() {
                // Not being able to hand the file over loses nothing.
                let _ = std::os::unix::fs::fchown(&file, Some(uid), Some(gid));
            }
            return Ok(Opened { file, is_new: true });
        }
        Err(Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    let handle = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let there = File::from(rustix::fs::openat(CWD, path, handle, Mode::empty())?);
    let why_not = |file: &File| -> io::Result<()> {
        match refusal(&file.metadata()?) {
            None => Ok(()),
            Some(why) => Err(io::Error::other(why)),
        }
    };
    why_not(&there)?;
    let link = format!("/proc/thread-self/fd/{}", there.as_raw_fd());
    let file = File::from(rustix::fs::open(link, open, Mode::empty())?);
    // It may have got a name since.
    why_not(&file)?;
    Ok(Opened {
        file,
        is_new: false,
    })
}

/// Why nothing may be written there.
fn refusal(there: &std::fs::Metadata) -> Option<String> {
    const WRITABLE_BY_OTHERS: u32 = 0o022;
    let kind = match FileType::from_raw_mode(there.mode()) {
        FileType::RegularFile => None,
        FileType::Symlink => Some("it is a symbolic link, which is not followed"),
        FileType::Directory => Some("it is a directory"),
        FileType::Fifo => Some("it is a pipe, and not a file"),
        FileType::CharacterDevice | FileType::BlockDevice => Some("it is a device, and not a file"),
        _ => Some("it is not a file"),
    };
    let own = rustix::process::geteuid().as_raw();
    let is_ours = there.uid() == own || invoking_user().is_some_and(|(uid, _)| there.uid() == uid);
    if let Some(kind) = kind {
        Some(kind.to_owned())
    } else if !is_ours {
        Some(format!("it belongs to user {}", there.uid()))
    } else if there.nlink() != 1 {
        Some("it has another name as well (a hard link)".to_owned())
    } else if there.mode() & WRITABLE_BY_OTHERS != 0 {
        Some("others may write to it".to_owned())
    } else {
        None
    }
}

/// Who called `sudo`; `None`: nobody did, or we are not root any more.
pub(crate) fn invoking_user() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let id = |name| std::env::var(name).ok()?.parse().ok();
    Some((id("SUDO_UID")?, id("SUDO_GID")?))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{chown, symlink};

    use super::*;

    #[test]
    fn a_file_is_created_or_emptied_and_only_its_owner_can_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r");

        drop(create(&path).unwrap());
        fs::write(&path, "of before").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        drop(create(&path).unwrap());

        let there = fs::metadata(&path).unwrap();
        assert_eq!((there.len(), there.mode() & 0o777), (0, 0o600));
    }

    #[test]
    fn what_somebody_else_can_write_to_is_refused_and_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let refused = |name: &str| create(&at(name)).unwrap_err().to_string();
        for name in ["target", "linked", "writable", "foreign"] {
            fs::write(at(name), "of before").unwrap();
        }
        symlink(at("target"), at("link")).unwrap();
        symlink(at("none"), at("dangling")).unwrap();
        fs::hard_link(at("linked"), at("second")).unwrap();
        fs::set_permissions(at("writable"), Permissions::from_mode(0o620)).unwrap();
        fs::create_dir(at("folder")).unwrap();
        rustix::fs::mknodat(CWD, at("fifo"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();

        assert!(refused("link").contains("symbolic link"));
        assert!(refused("dangling").contains("symbolic link"));
        assert!(refused("linked").contains("hard link"));
        assert!(refused("second").contains("hard link"));
        assert!(refused("writable").contains("others may write"));
        assert!(refused("folder").contains("a directory"));
        assert!(refused("fifo").contains("a pipe"));
        let device = create(Path::new("/dev/null")).unwrap_err().to_string();
        assert!(device.contains("a device"), "{device}");
        if rustix::process::geteuid().is_root() {
            chown(at("foreign"), Some(65534), None).unwrap();
            assert!(refused("foreign").contains("belongs to user 65534"));
        }
        assert!(!at("none").exists());
        for name in ["target", "linked", "writable", "foreign"] {
            assert_eq!(fs::read_to_string(at(name)).unwrap(), "of before", "{name}");
        }
    }
}
