//! What differs between the processors that guests have.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::apt::Apt;
use crate::installed::find;

/// The processor of a guest. The host's is an x86-64 one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Architecture {
    X86_64,
    Arm64,
}

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

/// What runs in the guest and is not on every host.
const GUEST_PACKAGES: &[&str] = &[
    "busybox-static",
    "python3.11-minimal",
    "libpython3.11-minimal",
    "libpython3.11-stdlib",
    "libffi8",
];
/// All that runs in the guest, where the host's own programs do not.
const ARM64_GUEST_PACKAGES: &[&str] = &[
    "busybox-static:arm64",
    "python3.11-minimal:arm64",
    "libpython3.11-minimal:arm64",
    "libpython3.11-stdlib:arm64",
    "libffi8:arm64",
    "iproute2:arm64",
    "util-linux:arm64",
    "procps:arm64",
    "libcap2-bin:arm64",
    "socat:arm64",
    // What these need.
    "libc6:arm64",
    "libgcc-s1:arm64",
    "libcap2:arm64",
    "libcap-ng0:arm64",
    "libssl3:arm64",
    "zlib1g:arm64",
    "libexpat1:arm64",
    "libbpf1:arm64",
    "libelf1:arm64",
    "libmnl0:arm64",
    "libselinux1:arm64",
    "libpcre2-8-0:arm64",
    "libxtables12:arm64",
    "libdb5.3:arm64",
    "libbsd0:arm64",
    "libmd0:arm64",
    "libproc2-0:arm64",
    "libwrap0:arm64",
    "libnsl2:arm64",
    "libtirpc3:arm64",
    "libgssapi-krb5-2:arm64",
    "libkrb5-3:arm64",
    "libk5crypto3:arm64",
    "libkrb5support0:arm64",
    "libcom-err2:arm64",
    "libkeyutils1:arm64",
];

impl Architecture {
    /// Whether programs for it can be built here; if not, what is missing.
    pub(super) fn buildable(self, apt: &Apt) -> Result<()> {
        match self {
            Self::X86_64 => Ok(()),
            Self::Arm64 => CrossTools::find(apt).map(drop),
        }
    }

    /// The packages that are unpacked for its guests, and the name of their tree.
    pub(super) fn guest_packages(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::X86_64 => ("guest", GUEST_PACKAGES),
            Self::Arm64 => ("guest-arm64", ARM64_GUEST_PACKAGES),
        }
    }

    /// The machine's program, the package that has it, and the name of its tree.
    pub(super) fn qemu(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::X86_64 => ("qemu-system-x86_64", "qemu-system-x86", "qemu"),
            Self::Arm64 => ("qemu-system-aarch64", "qemu-system-arm", "qemu-arm64"),
        }
    }

    /// Which machine, and which processor.
    pub(super) fn machine(self) -> [&'static str; 4] {
        match self {
            Self::X86_64 => ["-M", "q35", "-cpu", "max"],
            Self::Arm64 => ["-M", "virt", "-cpu", "cortex-a72"],
        }
    }

    /// Its first serial port, where the kernel's console is.
    pub(super) fn console(self) -> &'static str {
        match self {
            Self::X86_64 => "ttyS0",
            Self::Arm64 => "ttyAMA0",
        }
    }

    /// Its second serial port, where the outcome goes.
    pub(super) fn second_port(self) -> &'static str {
        match self {
            Self::X86_64 => "ttyS1",
            Self::Arm64 => "ttyS0",
        }
    }

    /// The options with which QEMU writes the second serial port to `file`.
    pub(super) fn second_port_to(self, file: &Path) -> Vec<String> {
        let file = file.display();
        match self {
            Self::X86_64 => vec!["-serial".to_owned(), format!("file:{file}")],
            // The machine has one of its own only.
            Self::Arm64 => vec![
                "-chardev".to_owned(),
                format!("file,id=outcome,path={file}"),
                "-device".to_owned(),
                "pci-serial,chardev=outcome".to_owned(),
            ],
        }
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
