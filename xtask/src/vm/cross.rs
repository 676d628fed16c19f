//! What builds programs for guests of another processor.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::apt::Apt;
use super::architecture::Architecture;
use crate::installed::find;

/// What Rust calls the guest that is not of the host's kind.
const ARM64_TARGET: &str = "aarch64-unknown-linux-gnu";
/// How the names of its compiler, linker and the like begin.
const ARM64_TOOLS: &str = "aarch64-linux-gnu-";
/// Those, for hosts where they are not installed.
const ARM64_TOOL_PACKAGES: &[&str] = &[
    "binutils-aarch64-linux-gnu",
    "cpp-12-aarch64-linux-gnu",
    "gcc-12-aarch64-linux-gnu",
    "gcc-aarch64-linux-gnu",
    "libc6-arm64-cross",
    "libc6-dev-arm64-cross",
    "libgcc-12-dev-arm64-cross",
    "libgcc-s1-arm64-cross",
    "linux-libc-dev-arm64-cross",
];
const ARM64_ADVICE: &str =
    "install it with: apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross";

/// Whether programs for guests of this processor can be built here; if not, what is
/// missing.
pub(super) fn check(architecture: Architecture, apt: &Apt) -> Result<()> {
    match architecture {
        Architecture::X86_64 => Ok(()),
        Architecture::Arm64 => CrossTools::find(apt).map(drop),
    }
}

/// What builds for a processor that is not the host's.
pub(super) struct CrossTools {
    /// How the paths of compiler, linker and the like begin.
    prefix: String,
    /// Where they were unpacked, if they are not installed.
    tree: Option<String>,
    /// Runs the built programs on the host.
    emulator: String,
}

impl CrossTools {
    /// What is installed, or one of our own; the error says in a sentence what
    /// is missing.
    pub(super) fn find(apt: &Apt) -> Result<Self> {
        let output = Command::new("rustc")
            .args(["--print", "target-libdir", "--target", ARM64_TARGET])
            .output()
            .context("cannot start rustc")?;
        let libraries = String::from_utf8_lossy(&output.stdout);
        ensure!(
            Path::new(libraries.trim()).is_dir(),
            "Rust's library for {ARM64_TARGET} is not installed; \
             install it with: rustup target add {ARM64_TARGET}"
        );
        let emulator = match find("qemu-aarch64-static") {
            Some(program) => program,
            None => apt
                .tools("qemu-user", &["qemu-user-static"])?
                .join("usr/bin/qemu-aarch64-static"),
        };
        let emulator = emulator.display().to_string();
        let tools = if find(&format!("{ARM64_TOOLS}gcc")).is_some() {
            Self {
                prefix: ARM64_TOOLS.to_owned(),
                tree: None,
                emulator,
            }
        } else {
            let tree = apt.tools("cross-arm64", ARM64_TOOL_PACKAGES)?;
            let tree = tree.display().to_string();
            Self {
                prefix: format!("{tree}/usr/bin/{ARM64_TOOLS}"),
                tree: Some(tree),
                emulator,
            }
        };
        let output = tools
            .command("gcc")
            .args(["-x", "c", "-c", "/dev/null", "-o", "/dev/null"])
            .output()
            .with_context(|| format!("no compiler for arm64 starts here; {ARM64_ADVICE}"))?;
        ensure!(
            output.status.success(),
            "no compiler for arm64 works here ({}); {ARM64_ADVICE}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(tools)
    }

    /// One of the tools, such as `strip`.
    pub(super) fn command(&self, name: &str) -> Command {
        let mut command = Command::new(format!("{}{name}", self.prefix));
        self.let_find_libraries(&mut command);
        command
    }

    /// Has cargo build for the target.
    pub(super) fn build_with(&self, cargo: &mut Command) {
        let lower = ARM64_TARGET.replace('-', "_");
        let upper = lower.to_uppercase();
        let gcc = format!("{}gcc", self.prefix);
        cargo
            .args(["--target", ARM64_TARGET])
            .env(format!("CARGO_TARGET_{upper}_LINKER"), &gcc)
            .env(format!("CC_{lower}"), gcc)
            .env(format!("AR_{lower}"), format!("{}ar", self.prefix));
        if let Some(tree) = &self.tree {
            // The linker that is installed knows where the C library is.
            cargo.env(
                format!("CARGO_TARGET_{upper}_RUSTFLAGS"),
                format!("-Clink-arg=--sysroot={tree}"),
            );
        }
        self.let_find_libraries(cargo);
    }

    /// A built program, run here with the libraries of `tree`.
    pub(super) fn run(&self, program: &Path, tree: &Path) -> Command {
        let mut command = Command::new(&self.emulator);
        command.arg("-L").args([tree, program]);
        command
    }

    fn let_find_libraries(&self, command: &mut Command) {
        if let Some(tree) = &self.tree {
            command.env(
                "LD_LIBRARY_PATH",
                format!("{tree}/usr/lib/x86_64-linux-gnu"),
            );
        }
    }
}
