//! What builds the kernel program: a Rust compiler that can, a linker, `strip`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, anyhow};

use super::TARGET;

/// Names a compiler to use: a path, or a toolchain of rustup as `+nightly`.
const COMPILER: &str = "TCPSTATE_BPF_RUSTC";
/// Names the linker to use.
const LINKER: &str = "TCPSTATE_BPF_LINKER";
/// Where distributions install a compiler that brings `core` for BPF.
const SYSTEM_COMPILERS: [&str; 1] = ["/usr/bin/rustc"];

const HOW_TO_INSTALL: &str = "\
building the kernel program needs one of

  Debian, Ubuntu   apt install rustc-web libstd-rust-web-dev-bpf llvm
  anywhere else    rustup toolchain install nightly --component rust-src

and the linker

  cargo install bpf-linker --version 0.10.4 --locked

and llvm-strip (package `llvm`). Nothing of this is needed to build or install \
tcpstate itself: the kernel program is in the repository.";

/// Everything that is needed, found.
pub(super) struct Toolchain {
    compiler: Compiler,
    /// Where the compiler keeps its own files.
    pub(super) sysroot: PathBuf,
    version: String,
    /// `bpf-linker`.
    pub(super) linker: PathBuf,
    /// `llvm-strip`.
    pub(super) strip: PathBuf,
}

enum Compiler {
    /// A compiler whose sysroot holds `core` for BPF.
    WithCore(PathBuf),
    /// A nightly of rustup that builds `core` from its sources.
    BuildStd(String),
}

impl Toolchain {
    /// What the environment names; a rustup nightly with sources; a compiler
    /// of the system. In this order.
    pub(super) fn find() -> anyhow::Result<Self> {
        let compiler = Compiler::find().ok_or_else(|| anyhow!("{HOW_TO_INSTALL}"))?;
        let linker = std::env::var_os(LINKER)
            .map(PathBuf::from)
            .or_else(|| find_program("bpf-linker"))
            .ok_or_else(|| anyhow!("bpf-linker is missing; {HOW_TO_INSTALL}"))?;
        let strip =
            find_strip().ok_or_else(|| anyhow!("llvm-strip is missing; {HOW_TO_INSTALL}"))?;
        let sysroot = output(compiler.rustc().args(["--print", "sysroot"]))?;
        let version = output(compiler.rustc().arg("--version"))?;
        Ok(Self {
            compiler,
            sysroot: PathBuf::from(sysroot),
            version,
            linker,
            strip,
        })
    }

    /// Cargo, set up for this compiler.
    pub(super) fn cargo(&self) -> Command {
        match &self.compiler {
            Compiler::WithCore(rustc) => {
                let mut cargo = Command::new("cargo");
                // aya-ebpf uses inline assembly for BPF, which is not stable.
                cargo.env("RUSTC", rustc).env("RUSTC_BOOTSTRAP", "1");
                cargo
            }
            Compiler::BuildStd(toolchain) => {
                let mut cargo = Command::new("rustup");
                cargo.args(["run", toolchain, "cargo", "-Zbuild-std=core"]);
                cargo.env_remove("RUSTC").env_remove("RUSTUP_TOOLCHAIN");
                cargo
            }
        }
    }
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.version)
    }
}

impl Compiler {
    fn find() -> Option<Self> {
        if let Ok(named) = std::env::var(COMPILER) {
            return Some(match named.strip_prefix('+') {
                Some(toolchain) => Self::BuildStd(toolchain.to_owned()),
                None => Self::WithCore(PathBuf::from(named)),
            });
        }
        if let Some(nightly) = nightly_with_sources() {
            return Some(Self::BuildStd(nightly));
        }
        SYSTEM_COMPILERS
            .into_iter()
            .map(PathBuf::from)
            .find(|rustc| has_core(rustc))
            .map(Self::WithCore)
    }

    fn rustc(&self) -> Command {
        match self {
            Self::WithCore(rustc) => Command::new(rustc),
            Self::BuildStd(toolchain) => {
                let mut rustc = Command::new("rustup");
                rustc.args(["run", toolchain, "rustc"]);
                rustc
            }
        }
    }
}

/// Sources of dependencies: cargo unpacks each registry into its own folder.
pub(super) fn registry_sources() -> Vec<PathBuf> {
    let home = std::env::var_os("CARGO_HOME").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cargo"),
        PathBuf::from,
    );
    let mut sources: Vec<PathBuf> = std::fs::read_dir(home.join("registry/src"))
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    sources.sort();
    sources
}

fn nightly_with_sources() -> Option<String> {
    let list = output(Command::new("rustup").args(["toolchain", "list"])).ok()?;
    list.lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| name.starts_with("nightly"))
        .find(|name| {
            output(Command::new("rustup").args(["run", name, "rustc", "--print", "sysroot"]))
                .is_ok_and(|sysroot| {
                    Path::new(&sysroot)
                        .join("lib/rustlib/src/rust/library/core")
                        .is_dir()
                })
        })
        .map(str::to_owned)
}

fn has_core(rustc: &Path) -> bool {
    let sysroot = output(Command::new(rustc).args(["--print", "sysroot"]));
    sysroot.is_ok_and(|sysroot| {
        Path::new(&sysroot)
            .join("lib/rustlib")
            .join(TARGET)
            .join("lib")
            .is_dir()
    })
}

fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|dir| dir.join(name))
        .find(|program| program.is_file())
}

/// Debian also installs it under a version.
fn find_strip() -> Option<PathBuf> {
    find_program("llvm-strip").or_else(|| {
        (14..=30)
            .rev()
            .find_map(|version| find_program(&format!("llvm-strip-{version}")))
    })
}

fn output(command: &mut Command) -> anyhow::Result<String> {
    let output = command
        .output()
        .with_context(|| format!("starting {}", command.get_program().display()))?;
    anyhow::ensure!(
        output.status.success(),
        "{} failed: {}",
        command.get_program().display(),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
