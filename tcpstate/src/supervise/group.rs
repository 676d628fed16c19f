//! A control group of the program's own, below ours.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::PathBuf;

use crate::snapshot::cgroup;

/// The group; gone when this is dropped, and what is still in it is in ours again.
#[derive(Debug)]
pub struct Group {
    path: PathBuf,
    parent: PathBuf,
}

impl Group {
    /// Makes one.
    ///
    /// # Errors
    ///
    /// There is no cgroup v2, or no group may be made in it.
    pub fn make() -> io::Result<Self> {
        let parent = cgroup::own_folder().ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, "there is no cgroup v2 hierarchy")
        })?;
        let path = parent.join(format!("tcpstate-run-{}", std::process::id()));
        fs::create_dir(&path)?;
        Ok(Self { path, parent })
    }

    /// The group itself, for what is attached to it.
    ///
    /// # Errors
    ///
    /// It cannot be opened.
    pub fn open(&self) -> io::Result<File> {
        File::open(&self.path)
    }

    /// Whoever writes `0` there is in the group.
    ///
    /// # Errors
    ///
    /// It cannot be opened.
    pub fn entrance(&self) -> io::Result<File> {
        OpenOptions::new()
            .write(true)
            .open(self.path.join("cgroup.procs"))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let left = fs::read_to_string(self.path.join("cgroup.procs")).unwrap_or_default();
        for pid in left.lines() {
            let to = OpenOptions::new()
                .write(true)
                .open(self.parent.join("cgroup.procs"));
            // One that has ended meanwhile need not go anywhere.
            let _ = to.and_then(|mut to| to.write_all(pid.as_bytes()));
        }
        let _ = fs::remove_dir(&self.path);
    }
}
