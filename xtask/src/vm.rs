//! `cargo xtask vm`: the live tests on other kernels, each in a virtual machine.
//!
//! Kernels come from Debian's archive, QEMU too where it is not installed. All
//! of it is kept in `target/vm`.

mod apt;
mod cpio;
mod initramfs;
mod kernels;
mod outcome;
mod qemu;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use apt::Apt;
use initramfs::{Programs, Purpose};
use kernels::{KERNELS, Kernel};
use outcome::{Outcome, not_here};
use qemu::{Guest, Qemu};

/// What `vm` takes.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Series of a kernel, such as 5.10; several are separated by commas.
    /// Without it: all.
    #[arg(long, value_delimiter = ',', value_name = "SERIES")]
    kernel: Vec<String>,
    /// List the kernels, and run nothing.
    #[arg(long)]
    list: bool,
    /// Boot one kernel to a shell with the program and the tests in it.
    #[arg(long, conflicts_with = "list")]
    shell: bool,
    /// Processors of the machine.
    #[arg(long, default_value_t = 2, value_name = "COUNT")]
    processors: u32,
    /// Seconds after which a machine is ended.
    #[arg(long, default_value_t = 1800, value_name = "SECONDS")]
    timeout: u64,
    /// Only tests whose name contains one of these.
    #[arg(last = true)]
    filter: Vec<String>,
}

/// What runs in the guest and is not on every host.
const GUEST_PACKAGES: &[&str] = &[
    "busybox-static",
    "python3.11-minimal",
    "libpython3.11-minimal",
    "libpython3.11-stdlib",
];
/// Fewer tests than this, without a filter, mean that the list of tests could
/// not be read.
const FEWEST_TESTS: usize = 50;

/// How one kernel did.
struct Row {
    series: &'static str,
    /// None: the guest did not come to an end.
    outcome: Option<Outcome>,
    is_right: bool,
    seconds: u64,
}

/// Runs the tests on each kernel, prints a table, and fails if any of them
/// failed or did not run.
pub(crate) fn run(root: &Path, args: &Args) -> Result<()> {
    if args.list {
        for kernel in KERNELS {
            println!("{:6} {}", kernel.series, kernel.release);
        }
        return Ok(());
    }
    let kernels = chosen(&args.kernel)?;
    let folder = root.join("target/vm");
    apt::make_dir(&folder)?;
    let apt = Apt::new(&folder);
    let qemu = Qemu::find(&apt)?;
    let tools = apt.tools("guest", GUEST_PACKAGES)?;
    let programs = build(root, &folder)?;
    if args.shell {
        let [kernel] = kernels.as_slice() else {
            bail!("--shell takes one --kernel");
        };
        let tree = apt.kernel(kernel)?;
        let initramfs = folder.join("shell.initramfs");
        initramfs::write(
            &initramfs,
            kernel,
            &tree,
            &tools,
            &programs,
            &Purpose::Shell,
        )?;
        return qemu.console(&Guest {
            kernel: &image(&tree, kernel)?,
            initramfs: &initramfs,
            processors: args.processors,
        });
    }

    let mut rows = Vec::new();
    for kernel in kernels {
        let arguments = arguments(kernel, &args.filter);
        let wanted = tests(&programs, &arguments)?;
        ensure!(!wanted.is_empty(), "no test has such a name");
        ensure!(
            !args.filter.is_empty() || wanted.len() >= FEWEST_TESTS,
            "the test program lists only {} tests",
            wanted.len()
        );
        println!("{}: {} tests", kernel.release, wanted.len());
        for not in not_here(kernel) {
            println!("{}: not run: {}: {}", kernel.series, not.test, not.why);
        }
        let start = now();
        let outcome = apt.kernel(kernel).and_then(|tree| {
            let nonce = format!("{:x}-{}", std::process::id(), rows.len());
            let initramfs = folder.join("initramfs");
            let purpose = Purpose::Tests {
                nonce: &nonce,
                arguments: &arguments,
            };
            initramfs::write(&initramfs, kernel, &tree, &tools, &programs, &purpose)?;
            let console = folder.join(format!("{}.console", kernel.series));
            let said = folder.join(format!("{}.outcome", kernel.series));
            let guest = Guest {
                kernel: &image(&tree, kernel)?,
                initramfs: &initramfs,
                processors: args.processors,
            };
            qemu.run(&guest, &console, &said, Duration::from_secs(args.timeout))
                .and_then(|()| healthy(&console))
                .and_then(|()| Outcome::read(&read(&said)?, &nonce, kernel))
                .with_context(|| {
                    format!(
                        "what it said is in {} and {}",
                        console.display(),
                        said.display()
                    )
                })
        });
        let seconds = start.elapsed().as_secs();
        let complaints = outcome.as_ref().map_or_else(
            |error| vec![format!("{error:#}")],
            |outcome| outcome.complaints(&wanted, kernel),
        );
        for complaint in &complaints {
            println!("{}: {complaint}", kernel.series);
        }
        rows.push(Row {
            series: kernel.series,
            outcome: outcome.ok(),
            is_right: complaints.is_empty(),
            seconds,
        });
    }
    print_table(&rows);
    let bad: Vec<&str> = rows
        .iter()
        .filter(|row| !row.is_right)
        .map(|row| row.series)
        .collect();
    ensure!(bad.is_empty(), "not right on {}", bad.join(", "));
    Ok(())
}

fn print_table(rows: &[Row]) {
    println!("\nkernel  mode        passed  failed  skipped  seconds");
    for row in rows {
        let Row {
            series, seconds, ..
        } = row;
        match &row.outcome {
            Some(outcome) => println!(
                "{series:6}  {:10}  {:6}  {:6}  {:7}  {seconds:7}",
                outcome.mode,
                outcome.passed.len(),
                outcome.failed.len(),
                outcome.skipped.len(),
            ),
            None => println!("{series:6}  no outcome                            {seconds:7}"),
        }
    }
}

fn chosen(series: &[String]) -> Result<Vec<&'static Kernel>> {
    if series.is_empty() {
        return Ok(KERNELS.iter().collect());
    }
    series
        .iter()
        .map(|wanted| {
            KERNELS
                .iter()
                .find(|kernel| kernel.series == wanted)
                .with_context(|| format!("there is no kernel {wanted}; --list lists them"))
        })
        .collect()
}

/// Builds the program and its live tests, and puts them into `folder` without
/// what only a debugger reads.
fn build(root: &Path, folder: &Path) -> Result<Programs> {
    let output = Command::new(env!("CARGO"))
        .current_dir(root)
        .args(["test", "-p", "tcpstate", "--test", "live", "--no-run"])
        .arg("--message-format=json-render-diagnostics")
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start cargo")?;
    ensure!(
        output.status.success(),
        "cargo ended with {}",
        output.status
    );
    let text = String::from_utf8_lossy(&output.stdout);
    let executable = |name: &str| {
        text.lines()
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
            .filter(|message| message["target"]["name"] == name)
            .find_map(|message| message["executable"].as_str().map(PathBuf::from))
            .with_context(|| format!("cargo did not say where {name} is"))
    };
    Ok(Programs {
        built_at: executable("tcpstate")?,
        tcpstate: stripped(&executable("tcpstate")?, &folder.join("tcpstate"))?,
        live: stripped(&executable("live")?, &folder.join("live"))?,
    })
}

fn stripped(program: &Path, to: &Path) -> Result<PathBuf> {
    let status = Command::new("strip")
        .arg("-o")
        .args([to, program])
        .status()
        .context("cannot start strip; install it with: apt-get install binutils")?;
    ensure!(status.success(), "strip ended with {status}");
    Ok(to.to_owned())
}

/// The names of the tests that the guest is to run.
fn tests(programs: &Programs, arguments: &[String]) -> Result<BTreeSet<String>> {
    let output = Command::new(&programs.live)
        .args(["--list", "--format", "terse"])
        .args(arguments)
        .output()
        .context("cannot start the test program")?;
    ensure!(output.status.success(), "the tests cannot be listed");
    Ok(String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| line.strip_suffix(": test"))
        .map(str::to_owned)
        .collect())
}

/// What the test program is told: which tests not to run, and which to run.
fn arguments(kernel: &Kernel, filter: &[String]) -> Vec<String> {
    let skipped = not_here(kernel).flat_map(|not| ["--skip".to_owned(), not.test.to_owned()]);
    skipped.chain(filter.iter().cloned()).collect()
}

/// The kernel's image among its unpacked packages.
fn image(tree: &Path, kernel: &Kernel) -> Result<PathBuf> {
    [
        format!("boot/vmlinuz-{}", kernel.release),
        format!("usr/lib/modules/{}/vmlinuz", kernel.release),
        format!("usr/lib/modules/{}/vmlinuz.unsigned", kernel.release),
    ]
    .iter()
    .map(|path| tree.join(path))
    .find(|path| path.exists())
    .with_context(|| format!("{} holds no vmlinuz", tree.display()))
}

/// Whether the guest's kernel has not complained.
fn healthy(console: &Path) -> Result<()> {
    const COMPLAINTS: &[&str] = &["BUG:", "WARNING:", "Oops", "Kernel panic", "soft lockup"];
    let text = read(console)?;
    let line = text
        .lines()
        .find(|line| COMPLAINTS.iter().any(|complaint| line.contains(complaint)));
    match line {
        Some(line) => bail!("the guest's kernel said: {line}"),
        None => Ok(()),
    }
}

fn read(path: &Path) -> Result<String> {
    let bytes = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[expect(clippy::disallowed_methods, reason = "times what a machine takes")]
fn now() -> Instant {
    Instant::now()
}
