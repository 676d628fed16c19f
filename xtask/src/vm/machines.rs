//! The machines of one run: what goes into each, and how it came out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use super::apt::Apt;
use super::architecture::Architecture;
use super::initramfs::{self, Purpose};
use super::kernels::{KERNELS, Kernel};
use super::outcome::{Mode, NotHere, Outcome, not_here};
use super::programs::Programs;
use super::qemu::{Guest, Qemu};
use super::table::Row;
use super::{Args, LIVE, now, quick};

/// Fewer tests than this, without a filter, mean that the list of tests could
/// not be read.
const FEWEST_TESTS: usize = 50;
/// How the names of the tests begin that measure.
const LOAD: &str = "load::";

/// A kernel, the files of its packages, and a mode.
pub(super) type Job = (&'static Kernel, PathBuf, Mode);

/// What every guest with one kind of processor is made of.
pub(super) struct Platform {
    pub(super) qemu: Qemu,
    pub(super) tools: PathBuf,
    pub(super) programs: Programs,
}

impl Platform {
    pub(super) fn new(
        architecture: Architecture,
        root: &Path,
        folder: &Path,
        tests: &str,
        apt: &Apt,
    ) -> Result<Self> {
        let (name, packages) = architecture.guest_packages();
        Ok(Self {
            qemu: Qemu::find(apt, architecture)?,
            tools: apt.tools(name, packages)?,
            programs: Programs::build(root, folder, tests, architecture, apt)?,
        })
    }

    fn list(&self, arguments: &[String]) -> Result<BTreeSet<String>> {
        self.programs.list(arguments, &self.tools)
    }
}

/// What all guests are made of.
pub(super) struct Machines<'a> {
    pub(super) folder: PathBuf,
    /// Of each processor that a guest is to have.
    pub(super) platforms: BTreeMap<Architecture, Platform>,
    pub(super) args: &'a Args,
}

impl Machines<'_> {
    pub(super) fn shell(&self, kernel: &Kernel, tree: &Path) -> Result<()> {
        let guest = self.guest("shell", kernel, tree, &Purpose::Shell)?;
        self.platform(kernel)?.qemu.console(&guest)
    }

    fn platform(&self, kernel: &Kernel) -> Result<&Platform> {
        self.platforms
            .get(&kernel.architecture)
            .with_context(|| format!("nothing was built for {}", kernel.series))
    }

    /// A machine whose root is written to the file `name`.
    fn guest(
        &self,
        name: &str,
        kernel: &Kernel,
        tree: &Path,
        purpose: &Purpose<'_>,
    ) -> Result<Guest> {
        let platform = self.platform(kernel)?;
        let initramfs = self.folder.join(format!("{name}.initramfs"));
        initramfs::write(
            &initramfs,
            kernel,
            tree,
            &platform.tools,
            &platform.programs,
            purpose,
        )?;
        Ok(Guest {
            kernel: image(tree, kernel)?,
            initramfs,
            processors: self.args.processors,
        })
    }

    /// Runs the tests on each kernel in each mode, on several machines at a time.
    pub(super) fn test_all(&self, jobs: VecDeque<Job>) -> Result<Vec<Row>> {
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
        let platform = self.platform(kernel)?;
        let not_here = self.not_here(kernel);
        let arguments = self.arguments(kernel, &not_here);
        let wanted = platform.list(&arguments)?;
        ensure!(!wanted.is_empty(), "no test has such a name");
        ensure!(
            self.is_narrowed() || wanted.len() >= FEWEST_TESTS,
            "the test program lists only {} tests",
            wanted.len()
        );
        println!("{} in {mode} mode: {} tests", kernel.release, wanted.len());
        let of_these = platform.list(&self.wanted())?;
        for not in not_here {
            if !of_these.iter().any(|test| test.starts_with(not.test)) {
                continue;
            }
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
        let name = format!("{}-{mode}", kernel.series);
        let purpose = Purpose::Tests {
            nonce: &nonce,
            mode,
            arguments,
            is_measured: self.args.load,
        };
        let file = |end: &str| self.folder.join(format!("{name}.{end}"));
        let _alone = alone(&file("lock"))?;
        let guest = self.guest(&name, kernel, tree, &purpose)?;
        let (console, said) = (file("console"), file("outcome"));
        let limit = Duration::from_secs(self.args.timeout);
        self.platform(kernel)?
            .qemu
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
    fn arguments(&self, kernel: &Kernel, not_here: &[&NotHere]) -> Vec<String> {
        let threads = [
            "--test-threads".to_owned(),
            kernel.tests_at_once().to_string(),
        ];
        let skipped = not_here
            .iter()
            .flat_map(|not| ["--skip".to_owned(), not.test.to_owned()]);
        threads
            .into_iter()
            .chain(skipped)
            .chain(self.wanted())
            .collect()
    }

    /// Which tests were asked for.
    fn wanted(&self) -> Vec<String> {
        if self.args.quick {
            quick::TESTS.iter().map(|test| (*test).to_owned()).collect()
        } else if self.args.load {
            vec![LOAD.to_owned()]
        } else {
            self.args.filter.clone()
        }
    }
}

/// Waits until no other run has a machine of this name: their files are the same.
fn alone(lock: &Path) -> Result<File> {
    let file = File::create(lock).with_context(|| format!("creating {}", lock.display()))?;
    file.lock()
        .with_context(|| format!("waiting for {}", lock.display()))?;
    Ok(file)
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
