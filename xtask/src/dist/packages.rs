//! `.deb` and `.rpm`, as `cargo-deb` and `cargo-generate-rpm` make them.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use flate2::{Compression, GzBuilder};

use super::Release;
use super::build::{Built, Target, folder};
use super::pages::Pages;
use crate::cargo;

/// As tried.
const CARGO_DEB: &str = "3.7.0";
const CARGO_GENERATE_RPM: &str = "0.21.0";
/// As in `tcpstate/Cargo.toml`.
const MAINTAINER: &str = "The tcpstate authors <authors@tcpstate.invalid>";

pub(super) fn make(
    release: &Release<'_>,
    built: &Built,
    pages: &Pages,
    build: &Path,
    out: &Path,
) -> Result<Vec<PathBuf>> {
    cargo::require("deb", CARGO_DEB)?;
    cargo::require("generate-rpm", CARGO_GENERATE_RPM)?;
    // Both take the program from where cargo has built it.
    fs::copy(&built.program, folder(build, built.target).join("tcpstate"))
        .context("cannot put the program where the packages take it from")?;
    stage(release, pages)?;
    let before = listed(out)?;
    let packager = Packager {
        root: release.root,
        target: built.target,
        build,
        out,
        time: release.time,
    };
    packager.deb(&[])?;
    packager.rpm(&[])?;
    Ok(listed(out)?
        .into_iter()
        .filter(|path| !before.contains(path))
        .collect())
}

/// Both again, of what was built last for this machine, as if of an earlier version. They go
/// into `out`, which is made anew.
pub(super) fn earlier(root: &Path, version: &str, out: &Path) -> Result<()> {
    let build = root.join("target/dist-build");
    if out.exists() {
        fs::remove_dir_all(out)?;
    }
    fs::create_dir_all(out)?;
    let target = Target::ALL.into_iter().find(|target| target.is_host());
    let target = target.context("nothing is built for this machine's processor")?;
    let packager = Packager {
        root,
        target,
        build: &build,
        out,
        time: 0,
    };
    packager.deb(&["--deb-version", &format!("{version}-1")])?;
    packager.rpm(&["--set-metadata", &format!("version = \"{version}\"")])
}

/// What both kinds are made of and where they go.
struct Packager<'a> {
    root: &'a Path,
    target: Target,
    build: &'a Path,
    out: &'a Path,
    /// Of all files, seconds since 1970.
    time: u64,
}

impl Packager<'_> {
    fn deb(&self, further: &[&str]) -> Result<()> {
        self.make("deb", &["--no-build", "--no-strip"], further)
    }

    fn rpm(&self, further: &[&str]) -> Result<()> {
        // The program is static; what is found by itself is what a shell's completions need.
        let own = ["--payload-compress", "zstd", "--auto-req", "disabled"];
        self.make("generate-rpm", &own, further)
    }

    fn make(&self, tool: &str, own: &[&str], further: &[&str]) -> Result<()> {
        let mut arguments = vec![tool, "--package", "tcpstate", "--profile", "dist"];
        arguments.extend(["--target", self.target.triple()]);
        arguments.extend(own);
        arguments.extend(further);
        println!("cargo {}", arguments.join(" "));
        let status = Command::new(env!("CARGO"))
            .current_dir(self.root)
            .args(arguments)
            .arg("--output")
            .arg(self.out)
            .env("CARGO_TARGET_DIR", self.build)
            .env("SOURCE_DATE_EPOCH", self.time.to_string())
            .status()
            .with_context(|| format!("cannot start cargo {tool}"))?;
        ensure!(status.success(), "cargo {tool} failed");
        Ok(())
    }
}

/// Puts the pages, and Debian's own changelog, where `tcpstate/Cargo.toml` names them.
fn stage(release: &Release<'_>, pages: &Pages) -> Result<()> {
    let folder = release.root.join("target/dist-pages");
    fs::create_dir_all(&folder)?;
    let changelog = debian_changelog(&release.version, release.time)?;
    fs::write(folder.join("changelog.Debian"), changelog)?;
    for (name, from) in &pages.files {
        let to = folder.join(name);
        fs::create_dir_all(to.parent().context("it has a folder")?)?;
        fs::copy(from, &to)?;
        if to.extension().is_some_and(|section| section == "1") {
            // `cargo deb` packs it itself.
            let mut gzip = GzBuilder::new().write(Vec::new(), Compression::best());
            gzip.write_all(&fs::read(&to)?)?;
            fs::write(to.with_extension("1.gz"), gzip.finish()?)?;
        }
    }
    Ok(())
}

/// As `deb-changelog(5)` has it; what has changed is in the program's own.
fn debian_changelog(version: &str, time: u64) -> Result<String> {
    let date = Command::new("date")
        .args(["--utc", "--rfc-email", "--date", &format!("@{time}")])
        .env("LC_ALL", "C")
        .output()
        .context("cannot start date")?;
    let date = String::from_utf8(date.stdout).context("a date is text")?;
    Ok(format!(
        "tcpstate ({version}-1) unstable; urgency=medium\n\n  * Version {version}; see CHANGELOG.md.\n\n \
         -- {MAINTAINER}  {date}"
    ))
}

fn listed(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).context("cannot list what was made")?;
    let mut paths = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}
