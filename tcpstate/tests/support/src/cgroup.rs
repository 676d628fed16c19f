//! A control group of version 2 for a test.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::requirement::{Lacking, skip_for};

/// Removed with all below it when the test is over.
#[derive(Debug)]
pub struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    /// `None`: none can be made here, and the test is skipped.
    #[must_use]
    pub fn make(name: &str) -> Option<Self> {
        let lacking = |what: &str| skip_for(Lacking { what, since: None });
        let root = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"]
            .into_iter()
            .find(|path| Path::new(path).join("cgroup.controllers").exists());
        let Some(root) = root else {
            lacking("no cgroup v2 hierarchy is mounted");
            return None;
        };
        let path = Path::new(root).join(name);
        if let Err(error) = fs::create_dir(&path) {
            lacking(&format!("a control group cannot be made: {error}"));
            return None;
        }
        Some(Self { path })
    }

    /// Its directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes another one in it.
    #[must_use]
    pub fn below(&self, name: &str) -> PathBuf {
        let path = self.path.join(name);
        fs::create_dir(&path).expect("a control group can be made in ours");
        path
    }

    /// A program that moves into it before it begins.
    #[must_use]
    pub fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("sh");
        command
            .args(["-c", "echo $$ > \"$0\"/cgroup.procs && exec \"$@\""])
            .arg(&self.path)
            .arg(program)
            .args(arguments)
            .stdin(Stdio::null());
        command
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // The last process in it may still be on its way out.
        for _ in 0..200 {
            if remove(&self.path).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        eprintln!("{} could not be removed", self.path.display());
    }
}

fn remove(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)?.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path())?;
        }
    }
    fs::remove_dir(path)
}
