//! A root directory to install into: Debian's, or one with nothing in it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context as _, Result, ensure};

use super::Package;

pub(super) struct Root {
    path: PathBuf,
}

/// What a package manager keeps for itself.
const KEPT: [&str; 7] = [
    "/root/.rpmdb/",
    "/var/lib/dpkg/",
    "/var/lib/rpm/",
    "/var/cache/",
    "/var/log/",
    "/proc/",
    "/sys/",
];

/// What belongs to the distribution and not to a package.
const FOLDERS: [&str; 12] = [
    "proc",
    "sys",
    "tmp",
    "root/.rpmdb",
    "var/lib/rpm",
    "usr/bin",
    "usr/share/doc",
    "usr/share/licenses",
    "usr/share/man/man1",
    "usr/share/bash-completion/completions",
    "usr/share/zsh/site-functions",
    "usr/share/fish/vendor_completions.d",
];

impl Root {
    /// As `debootstrap` makes it, once.
    pub(super) fn of_debian(roots: &Path, suite: &str) -> Result<Self> {
        let path = roots.join(suite);
        if !path.join("usr/bin/dpkg").exists() {
            fs::create_dir_all(roots)?;
            let status = Command::new("debootstrap")
                .args(["--variant=minbase", suite])
                .arg(&path)
                .status()
                .context(
                    "cannot start debootstrap; install it with: apt-get install debootstrap",
                )?;
            ensure!(status.success(), "debootstrap {suite} failed");
        }
        Ok(Self { path })
    }

    pub(super) fn empty(roots: &Path, name: &str) -> Result<Self> {
        let path = roots.join(name);
        if path.exists() {
            fs::remove_dir_all(&path).context("cannot remove the root of before")?;
        }
        for folder in FOLDERS {
            fs::create_dir_all(path.join(folder))?;
        }
        Ok(Self { path })
    }

    /// Gives the program's path in the root.
    pub(super) fn install(&self, package: &Package) -> Result<String> {
        match package {
            Package::Deb(deb) => {
                let inside = self.path.join("tcpstate.deb");
                fs::copy(deb, &inside)?;
                let installed = self.succeed(&["/usr/bin/dpkg", "--install", "/tcpstate.deb"]);
                fs::remove_file(inside)?;
                installed?;
                Ok("/usr/bin/tcpstate".to_owned())
            }
            Package::Rpm(rpm) => {
                self.rpm(&["--initdb"])?;
                let rpm = rpm.to_str().context("a path is text")?;
                // `cargo generate-rpm` writes that it needs /bin/sh, which an empty root lacks.
                self.rpm(&["--install", "--nodeps", rpm])?;
                Ok("/usr/bin/tcpstate".to_owned())
            }
            Package::Archive(archive) => {
                let status = Command::new("tar")
                    .arg("-xf")
                    .arg(archive)
                    .arg("--directory")
                    .arg(self.path.join("tmp"))
                    .arg("--strip-components=1")
                    .status()
                    .context("cannot start tar")?;
                ensure!(status.success(), "tar failed");
                Ok("/tmp/tcpstate".to_owned())
            }
        }
    }

    pub(super) fn remove(&self, package: &Package) -> Result<()> {
        match package {
            Package::Deb(_) => self
                .succeed(&["/usr/bin/dpkg", "--purge", "tcpstate"])
                .map(drop),
            Package::Rpm(_) => self.rpm(&["--erase", "tcpstate"]),
            Package::Archive(_) => {
                fs::remove_dir_all(self.path.join("tmp"))?;
                fs::create_dir(self.path.join("tmp")).context("cannot make it anew")
            }
        }
    }

    /// The host's `rpm`, on this root's packages.
    fn rpm(&self, arguments: &[&str]) -> Result<()> {
        let output = Command::new("rpm")
            .arg("--root")
            .arg(&self.path)
            .args(arguments)
            .output()
            .context("cannot start rpm; install it with: apt-get install rpm")?;
        ensure!(
            output.status.success(),
            "rpm {arguments:?} failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }

    /// Runs a program of the root, with the host's `/proc` and `/sys`.
    pub(super) fn run(&self, words: &[&str]) -> Result<Output> {
        const ENTER: &str = "mount --rbind /proc \"$0/proc\" && mount --rbind /sys \"$0/sys\" && \
                             root=$0 && exec chroot \"$root\" \"$@\"";
        Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c", ENTER])
            .arg(&self.path)
            .args(words)
            .env("LC_ALL", "C")
            .output()
            .context("cannot start unshare")
    }

    /// The same, of one that succeeds; gives what it said.
    pub(super) fn succeed(&self, words: &[&str]) -> Result<String> {
        let output = self.run(words)?;
        ensure!(
            output.status.success(),
            "{words:?} ended with {}: {}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// All files, links and folders in it, but for what package managers keep for themselves.
    pub(super) fn files(&self) -> Result<BTreeSet<String>> {
        let output = Command::new("find")
            .arg(&self.path)
            .args(["-xdev", "-printf", "/%P\n"])
            .output()
            .context("cannot start find")?;
        let text = String::from_utf8_lossy(&output.stdout);
        let is_kept = |path: &str| KEPT.iter().any(|kept| path.starts_with(kept));
        Ok(text
            .lines()
            .filter(|path| !is_kept(path))
            .map(str::to_owned)
            .collect())
    }
}
