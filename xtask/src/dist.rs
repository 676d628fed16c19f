//! What is handed out: static programs, archives, what they are made of, packages, sums. From a clean checkout the
//! same bytes, whenever and wherever they are made.

mod archive;
mod build;
mod compare;
mod image;
mod notes;
mod packages;
mod pages;
mod sbom;
mod sums;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use clap::Args as ClapArgs;

use self::build::{Built, Target};

#[derive(ClapArgs)]
pub(crate) struct Args {
    /// Only for this processor; may be repeated. Without it: all.
    #[arg(long, value_enum)]
    target: Vec<Target>,
    /// Only the programs and their archives: no .deb, no .rpm.
    #[arg(long)]
    no_packages: bool,
    /// Make everything twice, in two places, and fail if a byte differs.
    #[arg(long)]
    twice: bool,
    /// Also from a checkout with changes that are not committed.
    #[arg(long)]
    dirty: bool,
}

/// Largest program without its symbols, in bytes, so that it grows on purpose only.
const MAX_PROGRAM: u64 = 8 << 20;

/// What all that is made has in common.
struct Release<'a> {
    root: &'a Path,
    version: String,
    /// Seconds since 1970: the commit's, or `SOURCE_DATE_EPOCH`.
    time: u64,
}

pub(crate) fn run(root: &Path, args: &Args) -> Result<()> {
    if !args.dirty {
        let changed = git(root, &["status", "--porcelain"])?;
        ensure!(
            changed.is_empty(),
            "there are changes that are not committed, so nobody could make the same again: commit \
             them, or add --dirty\n{changed}"
        );
    }
    crate::ebpf::run(&crate::ebpf::Args::verify())?;
    let release = Release {
        root,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        time: match std::env::var("SOURCE_DATE_EPOCH") {
            Ok(time) => time.parse().context("SOURCE_DATE_EPOCH is no number")?,
            Err(_) => git(root, &["log", "-1", "--format=%ct"])?
                .parse()
                .context("the commit has no time")?,
        },
    };
    let out = root.join("target/dist");
    make(&release, args, &out, &root.join("target/dist-build"))?;
    if args.twice {
        let again = root.join("target/dist-again");
        let build = root.join("target/dist-build-again");
        make(&release, args, &again, &build)?;
        compare::same(&out, &again)?;
        fs::remove_dir_all(build).context("cannot remove the second build")?;
    }
    println!("made: {}", out.display());
    Ok(())
}

fn make(release: &Release<'_>, args: &Args, out: &Path, build: &Path) -> Result<()> {
    if out.exists() {
        fs::remove_dir_all(out).context("cannot remove what was made before")?;
    }
    fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    let targets = if args.target.is_empty() {
        Target::ALL.to_vec()
    } else {
        args.target.clone()
    };
    let built = targets
        .iter()
        .map(|target| build::program(release, *target, build))
        .collect::<Result<Vec<Built>>>()?;
    let pages = pages::make(release, &built, build)?;
    let mut made: Vec<PathBuf> = Vec::new();
    for built in &built {
        let size = built.program.metadata().context("it was built")?.len();
        println!("{}: {size} bytes without symbols", built.target.triple());
        ensure!(
            size <= MAX_PROGRAM,
            "the program for {} has {size} bytes, more than {MAX_PROGRAM}",
            built.target.triple()
        );
        made.extend(archive::make(release, built, &pages, out)?);
        made.push(sbom::make(release, built.target, out)?);
        if !args.no_packages {
            made.extend(packages::make(release, built, &pages, build, out)?);
        }
    }
    made.push(image::make(release, &built, out)?);
    made.push(notes::make(release, out)?);
    sums::write(&made, out)
}

/// Packages of what was built last, as if of an earlier version, for trying how it is replaced.
pub(crate) fn earlier(root: &Path, version: &str, out: &Path) -> Result<()> {
    packages::earlier(root, version, out)
}

fn git(root: &Path, arguments: &[&str]) -> Result<String> {
    let output = Command::new("git")
        .current_dir(root)
        .args(arguments)
        .output()
        .context("cannot start git")?;
    ensure!(
        output.status.success(),
        "git {} failed: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
