//! `cargo xtask ebpf build|verify`: the kernel program, from `tcpstate-ebpf`
//! to the committed object that the product embeds.
//!
//! The object is committed, stripped of everything but what the kernel reads,
//! so that building and installing the product needs a stable Rust only.

mod digest;
mod toolchain;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail, ensure};
use clap::Subcommand;

use crate::cargo;
use toolchain::Toolchain;

/// What `ebpf` takes.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    step: Step,
}

impl Args {
    /// What CI runs.
    pub(crate) fn verify() -> Self {
        Self {
            step: Step::Verify { strict: false },
        }
    }
}

#[derive(Subcommand)]
enum Step {
    /// Build the kernel program and put it where the product embeds it.
    Build,
    /// Check that the committed object belongs to the sources; with a BPF
    /// toolchain, build it again and compare byte by byte.
    Verify {
        /// Fail where no toolchain is there, or where the bytes differ.
        #[arg(long)]
        strict: bool,
    },
}

/// Where the product takes the object from.
const OBJECT: &str = "tcpstate/bpf/tcpstate.bpf.o";
/// Its digest, in the form of `sha256sum`.
const DIGEST: &str = "tcpstate/bpf/tcpstate.bpf.digest";
const TARGET: &str = "bpfel-unknown-none";

/// Runs a step.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let root = root()?;
    match args.step {
        Step::Build => build(&root),
        Step::Verify { strict } => verify(&root, strict),
    }
}

fn build(root: &Path) -> anyhow::Result<()> {
    let toolchain = Toolchain::find()?;
    let object = compile(root, &toolchain)?;
    let path = root.join(OBJECT);
    fs::write(&path, &object).with_context(|| format!("writing {}", path.display()))?;
    let digest = digest::of_inputs(root)?;
    let digest_path = root.join(DIGEST);
    fs::write(&digest_path, format!("{digest}\n"))
        .with_context(|| format!("writing {}", digest_path.display()))?;
    println!("{OBJECT}: {} bytes, built with {toolchain}", object.len());
    Ok(())
}

fn verify(root: &Path, strict: bool) -> anyhow::Result<()> {
    let stored =
        fs::read_to_string(root.join(DIGEST)).with_context(|| format!("reading {DIGEST}"))?;
    ensure!(
        stored.trim() == digest::of_inputs(root)?,
        "{OBJECT} was built from other sources; run `cargo xtask ebpf build` and commit the result"
    );
    println!("{OBJECT} was built from these sources");

    let toolchain = match Toolchain::find() {
        Ok(toolchain) => toolchain,
        Err(error) if strict => return Err(error),
        Err(error) => {
            println!("not built again: {error:#}");
            return Ok(());
        }
    };
    let fresh = compile(root, &toolchain)?;
    let committed = fs::read(root.join(OBJECT)).with_context(|| format!("reading {OBJECT}"))?;
    if fresh == committed {
        println!(
            "built again with {toolchain}: the same {} bytes",
            fresh.len()
        );
        return Ok(());
    }
    let difference = format!(
        "built again with {toolchain}: {} bytes that differ from the committed {}",
        fresh.len(),
        committed.len()
    );
    if strict {
        bail!("{difference}");
    }
    println!("{difference} (another compiler or linker than the committed one was built with)");
    try_in_kernel(root, &fresh, &committed)
}

/// Runs the live tests of the kernel program against a fresh object that is
/// not the committed one, which is put back in any case.
fn try_in_kernel(root: &Path, fresh: &[u8], committed: &[u8]) -> anyhow::Result<()> {
    let path = root.join(OBJECT);
    fs::write(&path, fresh).with_context(|| format!("writing {}", path.display()))?;
    // Of the whole workspace, as `cargo xtask test` builds it.
    let tested = cargo::run(root, &["test", "--workspace", "--test", "kernel_live"]);
    fs::write(&path, committed).with_context(|| format!("putting back {}", path.display()))?;
    tested.context("the fresh object fails the live tests")
}

/// Builds and strips; returns the object.
fn compile(root: &Path, toolchain: &Toolchain) -> anyhow::Result<Vec<u8>> {
    let target_dir = target_dir(root);
    let mut cargo = toolchain.cargo();
    cargo
        .current_dir(root)
        .args([
            "build",
            "--release",
            "--locked",
            "--package",
            "tcpstate-ebpf",
        ])
        .args(["--target", TARGET])
        .env("CARGO_TARGET_DIR", &target_dir)
        .env(
            "CARGO_ENCODED_RUSTFLAGS",
            flags(root, toolchain)?.join("\x1f"),
        );
    run_command(&mut cargo)?;

    let built = target_dir.join(TARGET).join("release/tcpstate-ebpf");
    let stripped = target_dir.join(TARGET).join("tcpstate.bpf.o");
    // Without DWARF the object is a fraction of its size; `.BTF` and
    // `.BTF.ext`, which the kernel wants, stay.
    run_command(
        Command::new(&toolchain.strip)
            .arg("-g")
            .arg("-o")
            .args([&stripped, &built]),
    )?;
    fs::read(&stripped).with_context(|| format!("reading {}", stripped.display()))
}

/// Flags of the compiler. The paths of this machine are replaced: they would
/// end up in the line information that the verifier prints.
fn flags(root: &Path, toolchain: &Toolchain) -> anyhow::Result<Vec<String>> {
    let root = root
        .to_str()
        .context("the path of the repository is not UTF-8")?;
    let mut flags = vec![
        format!("-Clinker={}", toolchain.linker.display()),
        "-Cdebuginfo=2".to_owned(),
        "-Clink-arg=--btf".to_owned(),
        format!("--remap-path-prefix={root}=/tcpstate"),
    ];
    for source in toolchain::registry_sources() {
        flags.push(format!(
            "--remap-path-prefix={}=/registry",
            source.display()
        ));
    }
    flags.push(format!(
        "--remap-path-prefix={}=/rust",
        toolchain.sysroot.display()
    ));
    Ok(flags)
}

fn run_command(command: &mut Command) -> anyhow::Result<()> {
    let status = command
        .status()
        .with_context(|| format!("starting {}", command.get_program().display()))?;
    ensure!(
        status.success(),
        "{} failed: {status}",
        command.get_program().display()
    );
    Ok(())
}

fn root() -> anyhow::Result<PathBuf> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = manifest.parent().context("xtask lies in the repository")?;
    Ok(root.to_owned())
}

/// Apart from the product's own build, so that neither throws away the other's.
fn target_dir(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| root.join("target"), PathBuf::from)
        .join("ebpf")
}
