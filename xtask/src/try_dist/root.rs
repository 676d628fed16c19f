//! A root directory to install into: Debian's, or one with nothing in it.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result, ensure};

use super::{Given, Package};
use crate::installed::find;

pub(super) struct Root {
    path: PathBuf,
}

/// What a package manager keeps for itself.
const KEPT: [&str; 10] = [
    "/etc/dnf/",
    "/root/.rpmdb/",
    "/var/lib/apt/",
    "/var/lib/dnf/",
    "/var/lib/dpkg/",
    "/var/lib/rpm/",
    "/var/cache/",
    "/var/log/",
    "/proc/",
    "/sys/",
];

/// What belongs to the distribution and not to a package.
const FOLDERS: [&str; 17] = [
    "proc",
    "sys",
    "tmp",
    "root/.rpmdb",
    "etc/dnf",
    "var/cache",
    "var/lib/dnf",
    "var/lib/rpm",
    "var/log",
    "var/tmp",
    "usr/bin",
    "usr/share/doc",
    "usr/share/licenses",
    "usr/share/man/man1",
    "usr/share/bash-completion/completions",
    "usr/share/zsh/site-functions",
    "usr/share/fish/vendor_completions.d",
];

/// Where a root's programs are looked for.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

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
        let root = Self { path };
        root.rpm(&["--initdb"])?;
        Ok(root)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Runs the README's commands, with the files that they name at hand.
    pub(super) fn install(&self, package: Package, given: &Given<'_>) -> Result<()> {
        for words in given.readme.of(package.step()) {
            println!("  {}", words.join(" "));
            if package == Package::Rpm {
                self.dnf(given.made, &words[1..])?;
                continue;
            }
            let mut brought = Vec::new();
            for word in words {
                // Where it lies is named as from the folder that the command is run in.
                let name = word.trim_start_matches("./");
                let (from, to) = (given.made.join(name), self.path.join(name));
                if from.is_file() {
                    fs::copy(&from, &to)?;
                    brought.push(to);
                }
            }
            let done = self.succeed(words);
            for path in brought {
                fs::remove_file(path)?;
            }
            done?;
        }
        Ok(())
    }

    pub(super) fn install_earlier(&self, package: Package, earlier: &Path) -> Result<()> {
        let entries = fs::read_dir(earlier).context("there is nothing of an earlier version")?;
        for entry in entries {
            let path = entry?.path();
            let kind = path.extension().unwrap_or_default();
            if package == Package::Rpm && kind == "rpm" {
                self.rpm(&["--install", path.to_str().context("a path is text")?])?;
            } else if package == Package::Deb && kind == "deb" {
                let inside = self.path.join("earlier.deb");
                fs::copy(&path, &inside)?;
                let done = self.succeed(&["dpkg", "--install", "/earlier.deb"]);
                fs::remove_file(inside)?;
                done?;
            }
        }
        Ok(())
    }

    /// The installed one, as the package manager knows it.
    pub(super) fn version(&self, package: Package) -> Result<String> {
        match package {
            Package::Deb => self.succeed(&["dpkg-query", "-W", "-f", "${Version}", "tcpstate"]),
            Package::Rpm => self.rpm(&[
                "--query",
                "--queryformat",
                "%{VERSION}-%{RELEASE}",
                "tcpstate",
            ]),
            Package::Archive => self.succeed(&["tcpstate", "--version"]),
        }
    }

    pub(super) fn remove(&self, package: Package) -> Result<()> {
        match package {
            Package::Deb => self
                .succeed(&["apt", "purge", "--yes", "tcpstate"])
                .map(drop),
            Package::Rpm => self.rpm(&["--erase", "tcpstate"]).map(drop),
            Package::Archive => {
                fs::remove_file(self.path.join("usr/local/bin/tcpstate"))?;
                // What the archive's command unpacked.
                for entry in fs::read_dir(&self.path)? {
                    let entry = entry?;
                    if entry.file_name().to_string_lossy().starts_with("tcpstate-") {
                        fs::remove_dir_all(entry.path())?;
                    }
                }
                Ok(())
            }
        }
    }

    /// Fails where a file is left behind, or taken away.
    pub(super) fn is_as_before(&self, before: &BTreeSet<String>) -> Result<()> {
        let after = self.files()?;
        let left: Vec<_> = after.difference(before).collect();
        ensure!(left.is_empty(), "left behind: {left:?}");
        let lost: Vec<_> = before.difference(&after).collect();
        ensure!(lost.is_empty(), "taken away: {lost:?}");
        Ok(())
    }

    /// The README's `dnf`, which is the host's, on this root; without it, `rpm`.
    fn dnf(&self, made: &Path, words: &[String]) -> Result<()> {
        let mut command = if find("dnf").is_some() {
            let mut command = Command::new("dnf");
            command
                .args([
                    "--assumeyes",
                    "--releasever=0",
                    "--disablerepo=*",
                    "--installroot",
                ])
                .arg(&self.path);
            command
        } else {
            println!("  there is no dnf: by rpm");
            let mut command = Command::new("rpm");
            command.arg("--root").arg(&self.path);
            command
        };
        let words = words.iter().map(String::as_str);
        let is_rpm = command.get_program() == "rpm";
        command.args(words.map(|word| {
            if is_rpm && word == "install" {
                "--upgrade"
            } else {
                word
            }
        }));
        let output = command
            .current_dir(made)
            .output()
            .context("cannot start rpm; install it with: apt-get install rpm")?;
        ensure!(
            output.status.success(),
            "{command:?} failed: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }

    /// The host's `rpm`, on this root's packages.
    fn rpm(&self, arguments: &[&str]) -> Result<String> {
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
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs a program of the root, with the host's `/proc` and `/sys`.
    pub(super) fn run<W: AsRef<OsStr>>(&self, words: &[W]) -> Result<Output> {
        const ENTER: &str = "mount --rbind /proc \"$0/proc\" && mount --rbind /sys \"$0/sys\" && \
                             root=$0 && exec chroot \"$root\" \"$@\"";
        Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c", ENTER])
            .arg(&self.path)
            .args(words)
            .env("LC_ALL", "C")
            .env("PATH", PATH)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdin(Stdio::null())
            .output()
            .context("cannot start unshare")
    }

    /// The same, of one that succeeds; gives what it said.
    pub(super) fn succeed<W: AsRef<OsStr>>(&self, words: &[W]) -> Result<String> {
        let output = self.run(words)?;
        let words: Vec<_> = words.iter().map(AsRef::as_ref).collect();
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
