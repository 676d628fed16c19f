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
mod quick;

use std::collections::{BTreeSet, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use apt::Apt;
use initramfs::{Programs, Purpose};
use kernels::{KERNELS, Kernel};
use outcome::{Mode, NotHere, Outcome, not_here};
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
    /// In which mode the program is to work; several are separated by commas.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Mode::ALL)]
    mode: Vec<Mode>,
    /// The test program to run.
    #[arg(long, default_value = LIVE, value_name = "NAME", value_parser = [LIVE, "matrix"])]
    program: String,
    /// Only a selection: where kernels differ.
    #[arg(long, conflicts_with = "filter")]
    quick: bool,
    /// Half a million state changes: print what watching them costs and loses.
    #[arg(long, conflicts_with_all = ["quick", "filter"])]
    load: bool,
    /// Only this many kernels: the first ones that the archive still has.
    #[arg(long, value_name = "COUNT")]
    count: Option<usize>,
    /// Processors of a machine. With more than one, QEMU now and then runs an
    /// instruction that the guest's kernel is just replacing ("Oops: int3").
    #[arg(long, default_value_t = 1, value_name = "COUNT")]
    processors: u32,
    /// Machines that run at one time.
    #[arg(long, default_value_t = 1, value_name = "COUNT")]
    machines: usize,
    /// Seconds after which a machine is ended.
    #[arg(long, default_value_t = 1800, value_name = "SECONDS")]
    timeout: u64,
    /// Only tests whose name contains one of these.
    #[arg(last = true)]
    filter: Vec<String>,
}

/// The test program that runs where no other is asked for.
const LIVE: &str = "live";
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

/// How one kernel did in one mode.
struct Row {
    series: &'static str,
    mode: Mode,
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
    let machines = Machines {
        programs: build(root, &folder, &args.program)?,
        folder,
        qemu,
        tools,
        args,
    };
    if args.shell {
        let [kernel] = kernels.as_slice() else {
            bail!("--shell takes one --kernel");
        };
        return machines.shell(kernel, &apt.kernel(kernel)?);
    }
    if args.quick {
        quick::explain();
    }

    let count = args.count.unwrap_or(kernels.len());
    let mut jobs = VecDeque::new();
    let mut absent = Vec::new();
    let mut present = 0;
    for kernel in kernels {
        if present == count {
            break;
        }
        match apt.kernel(kernel) {
            Ok(tree) => {
                present += 1;
                jobs.extend(args.mode.iter().map(|mode| (kernel, tree.clone(), *mode)));
            }
            Err(error) => {
                println!("{}: not to be had: {error:#}", kernel.series);
                absent.push(kernel.series);
            }
        }
    }
    let rows = machines.test_all(jobs)?;
    print_table(&rows);
    for series in &absent {
        println!("{series:6}  not to be had, see above");
    }
    ensure!(
        present == count,
        "only {present} of {count} kernels could be had"
    );
    let bad: Vec<String> = rows
        .iter()
        .filter(|row| !row.is_right)
        .map(|row| format!("{} in {} mode", row.series, row.mode))
        .collect();
    ensure!(bad.is_empty(), "not right on {}", bad.join(", "));
    Ok(())
}

/// A kernel, the files of its packages, and a mode.
type Job = (&'static Kernel, PathBuf, Mode);

/// What every guest is made of.
struct Machines<'a> {
    folder: PathBuf,
    qemu: Qemu,
    tools: PathBuf,
    programs: Programs,
    args: &'a Args,
}

impl Machines<'_> {
    fn shell(&self, kernel: &Kernel, tree: &Path) -> Result<()> {
        let initramfs = self.folder.join("shell.initramfs");
        let purpose = Purpose::Shell;
        initramfs::write(
            &initramfs,
            kernel,
            tree,
            &self.tools,
            &self.programs,
            &purpose,
        )?;
        self.qemu.console(&Guest {
            kernel: &image(tree, kernel)?,
            initramfs: &initramfs,
            processors: self.args.processors,
        })
    }

    /// Runs the tests on each kernel in each mode, on several machines at a time.
    fn test_all(&self, jobs: VecDeque<Job>) -> Result<Vec<Row>> {
        let jobs = Mutex::new(jobs);
        let next = || {
            jobs.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pop_front()
        };
        let work = || -> Result<Vec<Row>> {
            let mut rows = Vec::new();
            while let Some((kernel, tree, mode)) = next() {
                rows.push(self.test(kernel, &tree, mode)?);
            }
            Ok(rows)
        };
        let mut rows = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..self.args.machines.max(1))
                .map(|_| scope.spawn(work))
                .collect();
            let mut rows = Vec::new();
            for worker in workers {
                match worker.join() {
                    Ok(done) => rows.extend(done?),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            Ok::<_, anyhow::Error>(rows)
        })?;
        rows.sort_by_key(|row| {
            let age = KERNELS
                .iter()
                .position(|kernel| kernel.series == row.series);
            (age, row.mode)
        });
        Ok(rows)
    }

    /// Runs the tests on one kernel in one mode.
    fn test(&self, kernel: &'static Kernel, tree: &Path, mode: Mode) -> Result<Row> {
        let not_here = self.not_here(kernel);
        let arguments = self.arguments(&not_here);
        let wanted = tests(&self.programs, &arguments)?;
        ensure!(!wanted.is_empty(), "no test has such a name");
        ensure!(
            self.is_narrowed() || wanted.len() >= FEWEST_TESTS,
            "the test program lists only {} tests",
            wanted.len()
        );
        println!("{} in {mode} mode: {} tests", kernel.release, wanted.len());
        for not in not_here {
            println!("{}: not run: {}: {}", kernel.series, not.test, not.why);
        }
        let start = now();
        let outcome = self.boot(kernel, tree, mode, &arguments);
        let seconds = start.elapsed().as_secs();
        let complaints = outcome.as_ref().map_or_else(
            |error| vec![format!("{error:#}")],
            |outcome| outcome.complaints(&wanted, kernel, mode),
        );
        for complaint in &complaints {
            println!("{}: {complaint}", kernel.series);
        }
        if let Ok(outcome) = &outcome {
            for line in &outcome.told {
                println!("{}: {line}", kernel.series);
            }
        }
        Ok(Row {
            series: kernel.series,
            mode,
            outcome: outcome.ok(),
            is_right: complaints.is_empty(),
            seconds,
        })
    }

    fn boot(
        &self,
        kernel: &Kernel,
        tree: &Path,
        mode: Mode,
        arguments: &[String],
    ) -> Result<Outcome> {
        let nonce = format!("{:x}-{mode}", std::process::id());
        let file = |end: &str| self.folder.join(format!("{}-{mode}.{end}", kernel.series));
        let initramfs = file("initramfs");
        let purpose = Purpose::Tests {
            nonce: &nonce,
            mode,
            arguments,
        };
        initramfs::write(
            &initramfs,
            kernel,
            tree,
            &self.tools,
            &self.programs,
            &purpose,
        )?;
        let (console, said) = (file("console"), file("outcome"));
        let guest = Guest {
            kernel: &image(tree, kernel)?,
            initramfs: &initramfs,
            processors: self.args.processors,
        };
        let limit = Duration::from_secs(self.args.timeout);
        self.qemu
            .run(&guest, &console, &said, limit)
            .and_then(|()| healthy(&console))
            .and_then(|()| Outcome::read(&read(&said)?, &nonce, kernel))
            .with_context(|| {
                format!(
                    "what it said is in {} and {}",
                    console.display(),
                    said.display()
                )
            })
    }

    fn is_narrowed(&self) -> bool {
        let Args {
            program,
            quick,
            load,
            filter,
            ..
        } = self.args;
        program != LIVE || *quick || *load || !filter.is_empty()
    }

    fn not_here(&self, kernel: &Kernel) -> Vec<&'static NotHere> {
        not_here(kernel)
            .filter(|not| !(self.args.load && not.test == LOAD))
            .collect()
    }

    /// What the test program is told: which tests not to run, and which to run.
    fn arguments(&self, not_here: &[&NotHere]) -> Vec<String> {
        let skipped = not_here
            .iter()
            .flat_map(|not| ["--skip".to_owned(), not.test.to_owned()]);
        let wanted: Vec<String> = if self.args.quick {
            quick::TESTS.iter().map(|test| (*test).to_owned()).collect()
        } else if self.args.load {
            vec![LOAD.to_owned()]
        } else {
            self.args.filter.clone()
        };
        skipped.chain(wanted).collect()
    }
}

/// How the names of the tests begin that measure.
const LOAD: &str = "load::";

fn print_table(rows: &[Row]) {
    println!("\nkernel  mode        passed  failed  skipped  seconds");
    for row in rows {
        let Row {
            series,
            mode,
            seconds,
            ..
        } = row;
        match &row.outcome {
            Some(outcome) => println!(
                "{series:6}  {:10}  {:6}  {:6}  {:7}  {seconds:7}",
                mode.to_string(),
                outcome.passed.len(),
                outcome.failed.len(),
                outcome.skipped.len(),
            ),
            None => println!(
                "{series:6}  {:10}  no outcome                {seconds:7}",
                mode.to_string()
            ),
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

/// Builds the program and a program of tests, and puts them into `folder`
/// without what only a debugger reads.
fn build(root: &Path, folder: &Path, tests: &str) -> Result<Programs> {
    let output = Command::new(env!("CARGO"))
        .current_dir(root)
        .args(["test", "-p", "tcpstate", "--test", tests, "--no-run"])
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
        tests: stripped(&executable(tests)?, &folder.join("tests"))?,
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
    let output = Command::new(&programs.tests)
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
