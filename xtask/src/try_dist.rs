//! Tries what `dist` has made as who installs it does: each package in a root of its own,
//! installed, asked, removed, and nothing left behind.

mod image;
mod lint;
mod readme;
mod root;
mod shells;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args as ClapArgs;

use self::readme::{Readme, Step};
use self::root::Root;
use crate::bench::on_stage;
use crate::clock;

#[derive(ClapArgs)]
pub(crate) struct Args {
    /// Only in these roots: suites of Debian's, `rpm`, `archive`, `image`, `source`. Without it:
    /// all but the last.
    #[arg(long)]
    only: Vec<String>,
}

/// From the oldest that Debian still looks after to the newest.
const SUITES: [&str; 3] = ["bullseye", "bookworm", "trixie"];
/// From nothing to the first answer.
const MAX_FIRST: Duration = Duration::from_mins(1);
/// An answer on a machine that does nothing else takes tens of milliseconds.
const MAX_ANSWER: Duration = Duration::from_secs(2);
/// The port of which the README's command asks.
const PORT: u16 = 8080;
/// The version that is replaced.
const EARLIER: &str = "0.0.9";

/// How the program gets into a root, and out of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Package {
    Deb,
    Rpm,
    Archive,
}

impl Package {
    /// The README's commands that install it.
    fn step(self) -> Step {
        match self {
            Self::Deb => Step::Deb,
            Self::Rpm => Step::Rpm,
            Self::Archive => Step::Archive,
        }
    }
}

/// What was made, and how the README says that it is installed.
struct Given<'a> {
    readme: &'a Readme,
    made: &'a Path,
    /// Packages of an earlier version.
    earlier: &'a Path,
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
    let text = fs::read_to_string(top.join("README.md")).context("there is no README.md")?;
    let readme = Readme::parse(&text)?;
    let made = top.join("target/dist");
    let roots = top.join("target/roots");
    fs::create_dir_all(&roots)?;
    let deb = one(&made, &format!("_{}.deb", debian_architecture()))?;
    let rpm = one(&made, &format!(".{}.rpm", std::env::consts::ARCH))?;
    lint::packages(top, &deb, &rpm)?;
    let earlier = roots.join("earlier");
    crate::dist::earlier(top, EARLIER, &earlier)?;
    let given = Given {
        readme: &readme,
        made: &made,
        earlier: &earlier,
    };
    let is_wanted = |name: &str| args.only.is_empty() || args.only.iter().any(|only| only == name);
    let mut tried = Vec::new();
    for suite in SUITES.into_iter().filter(|suite| is_wanted(suite)) {
        let root = Root::of_debian(&roots, suite)?;
        tried.push(in_root(
            format!("Debian {suite}, .deb"),
            &root,
            Package::Deb,
            &given,
        )?);
    }
    if is_wanted("rpm") {
        let root = Root::empty(&roots, "rpm")?;
        let title = "an empty root, .rpm".to_owned();
        tried.push(in_root(title, &root, Package::Rpm, &given)?);
    }
    if is_wanted("archive") {
        let suite = SUITES[0];
        let root = Root::of_debian(&roots, suite)?;
        tried.push(in_root(
            format!("Debian {suite}, archive"),
            &root,
            Package::Archive,
            &given,
        )?);
    }
    if is_wanted("image") {
        tried.push(on_stage(|| {
            held(|| image::try_it(top, &made, &roots, &readme))
        })?);
    }
    if args.only.iter().any(|only| only == "source") {
        tried.push(source(top, &roots, &readme)?);
    }
    ensure!(!tried.is_empty(), "there is no such root");
    println!("{}", table(&tried));
    if !args.only.iter().any(|only| only == "source") {
        for words in readme.of(Step::Source) {
            println!("not run without `--only source`: {}", words.join(" "));
        }
    }
    for words in readme.of(Step::Tests) {
        println!("run by CI: {}", words.join(" "));
    }
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
    let entries = fs::read_dir(folder)
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

/// Runs it while somebody listens on the port of which the README asks.
fn held<R>(then: impl FnOnce() -> Result<R>) -> Result<R> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT))
        .with_context(|| format!("port {PORT} is not free on a stage of its own"))?;
    let done = then();
    drop(listener);
    done
}

fn in_root(name: String, root: &Root, package: Package, given: &Given<'_>) -> Result<Tried> {
    println!("in {name}");
    let steps = on_stage(|| {
        let before = root.files()?;
        let mut steps = held(|| first_steps(root, package, given))?;
        steps.push(("pages", pages(root, package)?));
        root.remove(package)?;
        root.is_as_before(&before)?;
        steps.push(("remove", "nothing left".to_owned()));
        if package != Package::Archive {
            steps.push(("upgrade", upgrade(root, package, given)?));
            root.is_as_before(&before)?;
        }
        Ok(steps)
    })
    .with_context(|| name.clone())?;
    Ok(Tried { root: name, steps })
}

/// As the README has them: installing, and what comes first after that; then what a user
/// comes to next.
fn first_steps(
    root: &Root,
    package: Package,
    given: &Given<'_>,
) -> Result<Vec<(&'static str, String)>> {
    let began = clock::now();
    root.install(package, given)?;
    let mut steps = Vec::new();
    for words in given.readme.of(Step::First) {
        let line = words.join(" ");
        let output = root.run(words)?;
        if words[1] == "explain" {
            let took = began.elapsed();
            answer_is_right(&output).with_context(|| line.clone())?;
            ensure!(took < MAX_FIRST, "the first answer took {took:?}");
            steps.push(("install to first answer", seconds(took)));
            let began = clock::now();
            root.run(words)?;
            let took = began.elapsed();
            ensure!(took < MAX_ANSWER, "{line} took {took:?}");
            steps.push(("explain", format!("right, {} ms", took.as_millis())));
        } else {
            let said = String::from_utf8_lossy(&output.stdout);
            ensure!(
                output.status.success() && said.contains("[time_wait_left_without_reuse]"),
                "{line}: {:?}: {said}{}",
                output.status,
                String::from_utf8_lossy(&output.stderr)
            );
            steps.push(("demo", format!("right, {}", seconds(began.elapsed()))));
        }
    }
    let version = root.succeed(&["tcpstate", "--version"])?;
    ensure!(
        version.trim().ends_with(env!("CARGO_PKG_VERSION")),
        "{version}"
    );
    // Its exit code says what this kernel lacks, which is no matter of the package.
    let doctor = root.run(&["tcpstate", "doctor"])?;
    let said = String::from_utf8_lossy(&doctor.stdout);
    ensure!(
        doctor.status.code().is_some_and(|code| code < 2) && said.contains("inet_sock_set_state"),
        "doctor: {:?}: {said}{}",
        doctor.status,
        String::from_utf8_lossy(&doctor.stderr)
    );
    steps.push(("doctor", format!("{} lines", said.lines().count())));
    let port = PORT.to_string();
    let watch = [
        "tcpstate",
        "watch",
        "--json",
        "--port",
        &port,
        "--duration",
        "1s",
    ];
    let watched = root.succeed(&watch)?;
    ensure!(watched.contains("\"event\":\"footer\""), "{watched}");
    steps.push(("watch", format!("{} events", watched.lines().count())));
    Ok(steps)
}

/// `explain` of a port that somebody listens on.
fn answer_is_right(output: &Output) -> Result<()> {
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.code() == Some(1) && said.contains("active_listener"),
        "{:?}: {said}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// An earlier version, replaced by the README's command, and removed.
fn upgrade(root: &Root, package: Package, given: &Given<'_>) -> Result<String> {
    root.install_earlier(package, given.earlier)?;
    let before = root.version(package)?;
    ensure!(
        before.starts_with(EARLIER),
        "the earlier version is {before}"
    );
    root.install(package, given)?;
    let after = root.version(package)?;
    ensure!(
        after.starts_with(env!("CARGO_PKG_VERSION")),
        "after {before} there is {after}"
    );
    root.succeed(&["tcpstate", "--version"])?;
    pages(root, package)?;
    root.remove(package)?;
    Ok(format!("{before} to {after}, then nothing left"))
}

/// The manual page, which opens, and completions, which a shell takes.
fn pages(root: &Root, package: Package) -> Result<String> {
    if package == Package::Archive {
        root.succeed(&["tcpstate", "man"])?;
        return Ok("by the program".to_owned());
    }
    let files = root.files()?;
    ensure!(
        files.iter().any(|file| file.contains("LICENSE-MIT")),
        "the package has no licence"
    );
    let shells = shells::complete(root.path(), &files)?;
    shells::manual_opens(root.path())?;
    Ok(format!("man opens; completed by {}", shells.join(", ")))
}

/// Installs what is in the checkout, and runs it, as the README says.
fn source(top: &Path, roots: &Path, readme: &Readme) -> Result<Tried> {
    println!("from the source");
    let prefix = roots.join("source");
    let began = clock::now();
    for words in readme.of(Step::Source) {
        println!("{}", words.join(" "));
        let status = std::process::Command::new(env!("CARGO"))
            .args(&words[1..])
            .current_dir(top)
            .env("CARGO_INSTALL_ROOT", &prefix)
            .stdout(std::process::Stdio::null())
            .status()
            .context("cannot start cargo")?;
        ensure!(status.success(), "{} ended with {status}", words.join(" "));
    }
    let took = seconds(began.elapsed());
    fs::remove_dir_all(prefix).context("cannot remove what was installed")?;
    Ok(Tried {
        root: "the source".to_owned(),
        steps: vec![("demo", format!("all of the README's, {took}"))],
    })
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

/// A row for each root, a column for each step that any of them has.
fn table(tried: &[Tried]) -> String {
    let mut columns: Vec<&str> = Vec::new();
    for (step, _) in tried.iter().flat_map(|one| &one.steps) {
        if !columns.contains(step) {
            columns.push(step);
        }
    }
    let mut text = format!("| root | {} |\n| --- |", columns.join(" | "));
    text += &" --- |".repeat(columns.len());
    for one in tried {
        let steps: BTreeMap<_, _> = one.steps.iter().map(|(step, came)| (*step, came)).collect();
        let _ = write!(text, "\n| {} |", one.root);
        for column in &columns {
            let came = steps.get(column).map_or("–", |came| came.as_str());
            let _ = write!(text, " {came} |");
        }
    }
    text
}
