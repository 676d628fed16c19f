//! Tries what `dist` has made as who installs it does: each package in a root of its own,
//! installed, asked, removed, and nothing left behind.

mod root;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args as ClapArgs;

use self::root::Root;
use crate::clock;

#[derive(ClapArgs)]
pub(crate) struct Args {
    /// Only in these roots: suites of Debian's, `rpm`, `archive`. Without it: all.
    #[arg(long)]
    only: Vec<String>,
}

/// From the oldest that Debian still looks after to the newest.
const SUITES: [&str; 3] = ["bullseye", "bookworm", "trixie"];
/// The first answer on a machine that does nothing else takes tens of milliseconds.
const MAX_ANSWER: Duration = Duration::from_secs(2);

/// How the program gets into a root, and out of it.
enum Package {
    Deb(PathBuf),
    Rpm(PathBuf),
    Archive(PathBuf),
}

/// What was tried in one root.
struct Tried {
    root: String,
    /// Each step with what came of it.
    steps: Vec<(&'static str, String)>,
}

pub(crate) fn run(top: &Path, args: &Args) -> Result<()> {
    ensure!(
        rustix::process::geteuid().is_root(),
        "roots are made and changed into as root"
    );
    let made = top.join("target/dist");
    let deb = one(&made, &format!("_{}.deb", debian_architecture()))?;
    let rpm = one(&made, &format!(".{}.rpm", std::env::consts::ARCH))?;
    let archive = one(
        &made,
        &format!(
            "{}-unknown-linux-gnu-v{}.tar.gz",
            std::env::consts::ARCH,
            env!("CARGO_PKG_VERSION")
        ),
    )?;
    let is_wanted = |name: &str| args.only.is_empty() || args.only.iter().any(|only| only == name);
    let roots = top.join("target/roots");
    let mut tried = Vec::new();
    for suite in SUITES.into_iter().filter(|suite| is_wanted(suite)) {
        let root = Root::of_debian(&roots, suite)?;
        tried.push(in_root(
            format!("Debian {suite}"),
            &root,
            &Package::Deb(deb.clone()),
        )?);
    }
    for (name, title, package) in [
        ("rpm", "an empty root, .rpm", Package::Rpm(rpm)),
        (
            "archive",
            "an empty root, archive",
            Package::Archive(archive),
        ),
    ] {
        if is_wanted(name) {
            let root = Root::empty(&roots, name)?;
            tried.push(in_root(title.to_owned(), &root, &package)?);
        }
    }
    ensure!(!tried.is_empty(), "there is no such root");
    println!("{}", table(&tried));
    Ok(())
}

fn debian_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "aarch64" => "arm64",
        _ => "amd64",
    }
}

/// The one file that was made with this end of its name.
fn one(folder: &Path, end: &str) -> Result<PathBuf> {
    let entries = std::fs::read_dir(folder)
        .with_context(|| format!("{} is not there; run: cargo xtask dist", folder.display()))?;
    let paths = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?;
    let mut found = paths
        .into_iter()
        .filter(|path| path.to_string_lossy().ends_with(end));
    match (found.next(), found.next()) {
        (Some(path), None) => Ok(path),
        (None, _) => bail!(
            "nothing in {} ends in {end}; run: cargo xtask dist",
            folder.display()
        ),
        _ => bail!("several files in {} end in {end}", folder.display()),
    }
}

fn in_root(name: String, root: &Root, package: &Package) -> Result<Tried> {
    println!("in {name}");
    let before = root.files()?;
    let held = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no port is to be had")?;
    let port = held.local_addr()?.port().to_string();

    let began = clock::now();
    let program = root.install(package)?;
    let first = root.run(&[&program, "explain", &port])?;
    let took = began.elapsed();
    let mut steps = vec![(
        "install to first answer",
        format!("{:.1} s", took.as_secs_f64()),
    )];
    let said = String::from_utf8_lossy(&first.stdout).into_owned();
    ensure!(
        first.status.code() == Some(1) && said.contains("active_listener"),
        "explain of a port that is held: {:?}: {said}{}",
        first.status,
        String::from_utf8_lossy(&first.stderr)
    );
    let began = clock::now();
    root.run(&[&program, "explain", &port])?;
    let took = began.elapsed();
    ensure!(took < MAX_ANSWER, "the second answer took {took:?}");
    steps.push(("explain", format!("right, {} ms", took.as_millis())));

    let version = root.succeed(&[&program, "--version"])?;
    ensure!(
        version.trim().ends_with(env!("CARGO_PKG_VERSION")),
        "{version}"
    );
    let watched = root.succeed(&[
        &program,
        "watch",
        "--json",
        "--port",
        &port,
        "--duration",
        "1s",
    ])?;
    let events = watched.lines().count();
    ensure!(watched.contains("\"event\":\"footer\""), "{watched}");
    steps.push(("watch", format!("{events} events")));
    steps.push(("pages", pages(root, &program, package)?));

    root.remove(package)?;
    let after = root.files()?;
    let left: BTreeSet<_> = after.difference(&before).collect();
    ensure!(left.is_empty(), "left behind: {left:?}");
    let lost: BTreeSet<_> = before.difference(&after).collect();
    ensure!(lost.is_empty(), "taken away: {lost:?}");
    steps.push(("remove", "nothing left".to_owned()));
    Ok(Tried { root: name, steps })
}

/// The manual page, and completions that a shell takes where there is one.
fn pages(root: &Root, program: &str, package: &Package) -> Result<String> {
    if matches!(package, Package::Archive(_)) {
        root.succeed(&[program, "man"])?;
        return Ok("by the program".to_owned());
    }
    let files = root.files()?;
    let has = |part: &str| files.iter().any(|file| file.contains(part));
    for part in [
        "/man1/tcpstate.1",
        "/bash-completion/completions/tcpstate",
        "/_tcpstate",
        "/fish/vendor_completions.d/tcpstate.fish",
        "LICENSE-MIT",
    ] {
        ensure!(has(part), "the package has no {part}");
    }
    if matches!(package, Package::Deb(_)) {
        let load = "source /usr/share/bash-completion/completions/tcpstate && complete -p tcpstate";
        root.succeed(&["/bin/bash", "-c", load])?;
        return Ok("man, bash, zsh, fish; bash takes its own".to_owned());
    }
    Ok("man, bash, zsh, fish".to_owned())
}

fn table(tried: &[Tried]) -> String {
    let mut text = String::from("| root |");
    for (step, _) in &tried[0].steps {
        let _ = write!(text, " {step} |");
    }
    text += "\n| --- |";
    text += &" --- |".repeat(tried[0].steps.len());
    for one in tried {
        let _ = write!(text, "\n| {} |", one.root);
        for (_, outcome) in &one.steps {
            let _ = write!(text, " {outcome} |");
        }
    }
    text
}
