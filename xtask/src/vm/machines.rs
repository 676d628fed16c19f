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
use super::outcome::{Mode, Outcome};
use super::programs::Programs;
use super::qemu::{Guest, Qemu};
use super::table::Row;
use super::{Args, LIVE};
use crate::clock::now;
use crate::requirement::Machine;

/// Fewer tests than this, without a filter, mean that the list of tests could
/// not be read.
const FEWEST_TESTS: usize = 50;
/// In the names of the tests that measure.
const LOAD: &str = "load::";
/// In the names of the tests in which kernels differ (`tests/live/kernels.rs`).
const KERNELS_DIFFER: &str = "kernels::";
/// Seconds that one test may take in a guest.
const TEST_LIMIT: u64 = 600;

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

    /// The same with this program under test.
    pub(super) fn with_program(mut self, program: &Path) -> Self {
        program.clone_into(&mut self.programs.tcpstate);
        self
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
        let (guest, _) = self.guest("shell", kernel, tree, &Purpose::Shell)?;
        self.platform(kernel)?.qemu.console(&guest)
    }

    fn platform(&self, kernel: &Kernel) -> Result<&Platform> {
        self.platforms
            .get(&kernel.architecture)
            .with_context(|| format!("nothing was built for {}", kernel.series))
    }

    /// A machine whose root is written to the file `name`, and the programs in it.
    fn guest(
        &self,
        name: &str,
        kernel: &Kernel,
        tree: &Path,
        purpose: &Purpose<'_>,
    ) -> Result<(Guest, BTreeSet<String>)> {
        let platform = self.platform(kernel)?;
        let initramfs = self.folder.join(format!("{name}.initramfs"));
        let programs = initramfs::write(
            &initramfs,
            kernel,
            tree,
            &platform.tools,
            &platform.programs,
            purpose,
        )?;
        let guest = Guest {
            kernel: image(tree, kernel)?,
            initramfs,
            processors: self.args.processors,
        };
        Ok((guest, programs))
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
        let wanted = platform.list(&self.filter())?;
        ensure!(!wanted.is_empty(), "no test has such a name");
        ensure!(
            self.is_narrowed() || wanted.len() >= FEWEST_TESTS,
            "the test program lists only {} tests",
            wanted.len()
        );
        println!("{} in {mode} mode: {} tests", kernel.release, wanted.len());
        let start = now();
        let outcome = self.boot(kernel, tree, mode, &wanted);
        let seconds = start.elapsed().as_secs();
        let complaints = outcome.as_ref().map_or_else(
            |error| vec![format!("{error:#}")],
            |(outcome, machine)| outcome.complaints(&wanted, machine, mode),
        );
        for complaint in &complaints {
            println!("{}: {complaint}", kernel.series);
        }
        if let Ok((outcome, _)) = &outcome {
            for line in outcome.figures.iter().chain(&outcome.output) {
                println!("{}: {line}", kernel.series);
            }
        }
        Ok(Row {
            series: kernel.series,
            mode,
            outcome: outcome.ok().map(|(outcome, _)| outcome),
            is_right: complaints.is_empty(),
            seconds,
        })
    }

    fn boot(
        &self,
        kernel: &Kernel,
        tree: &Path,
        mode: Mode,
        wanted: &BTreeSet<String>,
    ) -> Result<(Outcome, Machine)> {
        let nonce = format!("{:x}-{mode}", std::process::id());
        let name = format!("{}-{mode}", kernel.series);
        let purpose = Purpose::Tests {
            nonce: &nonce,
            mode,
            wanted,
            at_once: kernel.tests_at_once(),
            // The matrix is one test, and takes what the machine is given.
            limit: if self.args.program == LIVE {
                TEST_LIMIT
            } else {
                self.args.timeout
            },
            is_measured: self.args.load,
        };
        let file = |end: &str| self.folder.join(format!("{name}.{end}"));
        let _alone = alone(&file("lock"))?;
        let (guest, programs) = self.guest(&name, kernel, tree, &purpose)?;
        let machine = Machine {
            linux: kernel.version(),
            is_distribution: true,
            processors: self.args.processors as usize,
            is_root: true,
            is_emulated: !self.args.load,
            programs: crate::requirement::Programs::Listed(programs),
        };
        let (console, said) = (file("console"), file("outcome"));
        let limit = Duration::from_secs(self.args.timeout);
        self.platform(kernel)?
            .qemu
            .run(&guest, &console, &said, limit)
            .and_then(|()| healthy(&console))
            .and_then(|()| Ok((Outcome::read(&read(&said)?, &nonce, kernel)?, machine)))
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

    /// Which tests were asked for: what their names contain.
    fn filter(&self) -> Vec<String> {
        if self.args.quick {
            vec![KERNELS_DIFFER.to_owned()]
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
