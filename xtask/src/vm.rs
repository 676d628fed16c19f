//! `cargo xtask vm`: the live tests on other kernels, each in a virtual machine.
//!
//! Kernels come from Debian's archive, QEMU too where it is not installed. All
//! of it is kept in `target/vm`.

mod apt;
mod architecture;
mod cpio;
mod cross;
mod initramfs;
mod kernels;
mod machines;
mod outcome;
mod programs;
mod qemu;
mod table;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};

use apt::Apt;
use architecture::Architecture;
use kernels::{KERNELS, Kernel};
use machines::{Machines, Platform};
use outcome::Mode;

/// What `vm` takes.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Series of a kernel, such as 5.10 or 6.12-arm64; several are separated by commas.
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
    /// Runs this program in the guest instead of building it, for instance the one that
    /// `cargo xtask dist` has made; of the processor that the kernels are for.
    #[arg(long, value_name = "FILE")]
    program_file: Option<PathBuf>,
    /// Only the tests in which kernels differ: those in a module `kernels`.
    #[arg(long, conflicts_with = "filter")]
    quick: bool,
    /// Half a million state changes, and the parts of the benchmark that mean something
    /// on an emulated machine: print what watching costs and loses.
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

/// Runs the tests on each kernel, prints a table, and fails if any of them
/// failed or did not run.
pub(crate) fn run(root: &Path, args: &Args) -> Result<()> {
    if args.list {
        for kernel in KERNELS {
            println!("{:10} {}", kernel.series, kernel.release);
        }
        return Ok(());
    }
    let kernels = chosen(&args.kernel)?;
    let folder = root.join("target/vm");
    apt::make_dir(&folder)?;
    let apt = Apt::new(&folder);
    let program = match &args.program_file {
        Some(file) => Some(
            fs::canonicalize(file)
                .with_context(|| format!("there is no program {}", file.display()))?,
        ),
        None => None,
    };
    let platform = |architecture| {
        let platform = Platform::new(architecture, root, &folder, &args.program, &apt)?;
        Ok::<_, anyhow::Error>(match &program {
            Some(program) => platform.with_program(program),
            None => platform,
        })
    };
    let mut machines = Machines {
        folder: folder.clone(),
        platforms: BTreeMap::new(),
        args,
    };
    if args.shell {
        let [kernel] = kernels.as_slice() else {
            bail!("--shell takes one --kernel");
        };
        let architecture = kernel.architecture;
        machines
            .platforms
            .insert(architecture, platform(architecture)?);
        return machines.shell(kernel, &apt.kernel(kernel)?);
    }
    let count = args.count.unwrap_or(kernels.len());
    let mut jobs = VecDeque::new();
    let mut absent = Vec::new();
    let mut present = 0;
    for kernel in kernels {
        if present == count {
            break;
        }
        let tree = cross::check(kernel.architecture, &apt).and_then(|()| apt.kernel(kernel));
        match tree {
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
    let architectures: BTreeSet<Architecture> = jobs
        .iter()
        .map(|(kernel, ..)| kernel.architecture)
        .collect();
    for architecture in architectures {
        machines
            .platforms
            .insert(architecture, platform(architecture)?);
    }
    let rows = machines.test_all(jobs)?;
    table::print(&rows);
    let by_test = folder.join("tests.txt");
    fs::write(&by_test, table::by_test(&rows))
        .with_context(|| format!("writing {}", by_test.display()))?;
    println!("each test on each of them: {}", by_test.display());
    for series in &absent {
        println!("{series:10}  not to be had, see above");
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
