//! Files that the dashboard writes: only new ones, only for who asked.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::event::{ClockAnchor, rfc3339};

/// Names that are tried when one is taken.
const MAX_TRIES: u32 = 100;

/// A file to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewFile {
    /// Its name without number and ending.
    pub stem: String,
    /// The ending.
    pub extension: &'static str,
    /// What is in it.
    pub content: Vec<u8>,
}

impl NewFile {
    /// Writes it into the folder under the first free name. It is readable for
    /// its owner alone, and nothing is overwritten or followed.
    pub fn write(&self, folder: &Path) -> io::Result<PathBuf> {
        for number in 1..=MAX_TRIES {
            let number = match number {
                1 => String::new(),
                number => format!("-{number}"),
            };
            let path = folder.join(format!("{}{number}.{}", self.stem, self.extension));
            let file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path);
            match file {
                Ok(mut file) => {
                    give_to_invoking_user(&file);
                    file.write_all(&self.content)?;
                    return Ok(path);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "a hundred files of this name are there already",
        ))
    }
}

/// `tcpstate-20261121-110641-<of>`; before the calendar is known, without it.
pub(crate) fn stem(anchor: Option<&ClockAnchor>, mono_ns: u64, of: &str) -> String {
    let time: String = anchor.map_or_else(String::new, |anchor| {
        let time = rfc3339::format(anchor.realtime_ns(mono_ns));
        let digits = time.get(..19).unwrap_or_default().replace(['-', ':'], "");
        format!("{}-", digits.replace('T', "-"))
    });
    format!("tcpstate-{time}{of}")
}

/// Under sudo the file belongs to who ran it, for that is who will read it. If
/// that fails, root has it.
fn give_to_invoking_user(file: &File) {
    let id = |name| std::env::var(name).ok()?.parse::<u32>().ok();
    if !rustix::process::geteuid().is_root() {
        return;
    }
    if let (Some(uid), Some(gid)) = (id("SUDO_UID"), id("SUDO_GID")) {
        let (uid, gid) = (
            rustix::fs::Uid::from_raw(uid),
            rustix::fs::Gid::from_raw(gid),
        );
        let _ = rustix::fs::fchown(file, Some(uid), Some(gid));
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, symlink};

    use super::*;

    fn save(content: &str) -> NewFile {
        NewFile {
            stem: "x".to_owned(),
            extension: "txt",
            content: content.as_bytes().to_vec(),
        }
    }

    #[test]
    fn nothing_is_overwritten_and_nobody_else_can_read() {
        let dir = tempfile::tempdir().expect("a directory");

        let first = save("one").write(dir.path()).expect("it is written");
        let second = save("two").write(dir.path()).expect("it is written");

        assert_eq!(first, dir.path().join("x.txt"));
        assert_eq!(second, dir.path().join("x-2.txt"));
        assert_eq!(fs::read_to_string(&first).expect("it is there"), "one");
        let mode = fs::metadata(&second).expect("it is there").mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_link_that_lies_in_wait_is_not_followed() {
        let dir = tempfile::tempdir().expect("a directory");
        let target = dir.path().join("target");
        symlink(&target, dir.path().join("x.txt")).expect("a link can be made");

        let path = save("one").write(dir.path()).expect("it is written");

        assert_eq!(path, dir.path().join("x-2.txt"));
        assert!(!target.exists());
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error() {
        let dir = tempfile::tempdir().expect("a directory");

        assert!(save("x").write(&dir.path().join("none")).is_err());
    }

    #[test]
    fn the_name_tells_the_time() {
        let anchor = ClockAnchor {
            mono_ns: 0,
            realtime: 1_795_000_001_000_000_000,
        };

        let name = stem(Some(&anchor), 2_000_000_000, "screen");

        assert_eq!(name, "tcpstate-20261118-110643-screen");
        assert_eq!(stem(None, 2, "screen"), "tcpstate-screen");
    }
}
