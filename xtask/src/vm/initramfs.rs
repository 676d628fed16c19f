//! The guest's root filesystem: busybox, the modules of its kernel, the program
//! and its live tests, and what those run.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::architecture::Architecture;
use super::cpio::Archive;
use super::kernels::Kernel;
use super::outcome::Mode;
use super::programs::Programs;
use crate::installed::find;

/// What [`INIT`] and the tests take from busybox.
const APPLETS: &[&str] = &[
    "sh", "mount", "umount", "mkdir", "insmod", "cat", "sed", "stty", "uname", "sync", "poweroff",
    "setsid", "cttyhack", "ls", "ps", "kill", "sleep", "grep", "id", "true", "false", "echo",
    "env", "head", "tail", "dmesg", "date", "cut", "wc", "rm", "cp", "ln", "timeout", "find",
    "stat", "awk", "xargs",
];
/// Programs of the host that tests run; those that it lacks the tests miss.
const PROGRAMS: &[&str] = &[
    "ip", "ss", "setpriv", "unshare", "nsenter", "socat", "sysctl", "setcap",
];
/// Modules that tests need; a kernel that has one built in, or not at all, is
/// as good, since the tests say what is missing.
const MODULES: &[&str] = &[
    "veth",
    "inet_diag",
    "tcp_diag",
    "udp_diag",
    "unix_diag",
    "mptcp_diag",
    "dummy",
    "vrf",
    "sch_netem",
];
/// What tests take their choice from.
const CHOICES: &[&str] = &["TCPSTATE_EVERY", "TCPSTATE_CASE"];
/// What is measured in a guest: counts, time in the kernel, and ratios of one and
/// the same machine.
const BENCH: &[&str] = &[
    "--short",
    "--programs=/bin",
    "--only=rates",
    "--only=kernel",
    "--only=syscalls",
    "--only=binds",
];
const PEER: &str = "bindsnoop";
const PYTHON: &str = "python3.11";
const INIT: &str = include_str!("init.sh");
const ONE_TEST: &str = include_str!("one-test.sh");
/// What tests read.
const DATA: &[&str] = &["tests/data", "tests/traces", "tests/live/strangers"];

/// What the guest is for.
pub(super) enum Purpose<'a> {
    /// Run the live tests with these arguments.
    Tests {
        /// Marks this run's lines.
        nonce: &'a str,
        /// How the program is to observe.
        mode: Mode,
        /// The tests to run.
        wanted: &'a BTreeSet<String>,
        /// How many of them at one time.
        at_once: u8,
        /// Seconds after which a test is ended.
        limit: u64,
        /// Measure afterwards what it costs there.
        is_measured: bool,
    },
    /// A shell.
    Shell,
}

/// Writes the root of `kernel`'s guest to `path`. `tree` is the kernel's
/// packages, `tools` those of what runs in the guest. Gives the names of the programs in
/// it.
pub(super) fn write(
    path: &Path,
    kernel: &Kernel,
    tree: &Path,
    tools: &Path,
    programs: &Programs,
    purpose: &Purpose<'_>,
) -> Result<BTreeSet<String>> {
    let mut root = Archive::default();
    for folder in ["proc", "sys", "dev", "run", "tmp", "root", "etc"] {
        root.directory(folder);
    }
    // `ip netns` keeps its files below it.
    root.link("var/run", "/run");
    root.text("init", INIT, 0o755);
    root.text("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n", 0o644);
    root.text("port", kernel.architecture.second_port(), 0o644);
    match purpose {
        Purpose::Tests {
            nonce,
            mode,
            wanted,
            at_once,
            limit,
            is_measured,
        } => {
            root.text("nonce", *nonce, 0o644);
            root.text("capture", mode.capture(), 0o644);
            let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
            root.text("wanted", wanted.join("\n") + "\n", 0o644);
            root.text("at-once", at_once.to_string(), 0o644);
            root.text("limit", limit.to_string(), 0o644);
            root.text("environment", environment(*is_measured), 0o644);
            if *is_measured {
                add_benchmark(&mut root, kernel)?;
            }
        }
        Purpose::Shell => root.text("shell", "", 0o644),
    }
    match kernel.architecture {
        Architecture::X86_64 => {
            for name in PROGRAMS {
                if let Some(program) = find(name) {
                    add_program(&mut root, &format!("bin/{name}"), &program)?;
                }
            }
            root.copy_tree("usr", &tools.join("usr"))?;
            add_libraries(&mut root, &tools.join("usr/bin").join(PYTHON))?;
            add_libraries(&mut root, &programs.tests)?;
            add_libraries(&mut root, &programs.tcpstate)?;
        }
        Architecture::Arm64 => {
            for folder in ["bin", "sbin", "lib", "usr/bin", "usr/sbin", "usr/lib"] {
                root.copy_tree(folder, &tools.join(folder))?;
            }
        }
    }
    root.copy("bin/busybox", &tools.join("bin/busybox"));
    for applet in APPLETS {
        root.link(&format!("bin/{applet}"), "busybox");
    }
    root.link("usr/bin/python3", PYTHON);
    root.text("bin/one-test", ONE_TEST, 0o755);
    root.copy("bin/tests", &programs.tests);
    root.copy("bin/tcpstate", &programs.tcpstate);
    for data in DATA {
        let data = programs.sources.join(data);
        root.copy_tree(data.to_string_lossy().trim_start_matches('/'), &data)?;
    }
    add_modules(&mut root, kernel, tree)?;
    root.write(path)?;
    Ok(root.programs())
}

/// This very program, which measures, and the peer that only other kernels run.
fn add_benchmark(root: &mut Archive, kernel: &Kernel) -> Result<()> {
    ensure!(
        kernel.architecture == Architecture::X86_64,
        "what it costs is measured on x86-64 only"
    );
    let program = std::env::current_exe().context("cannot find this program")?;
    add_program(root, "bin/xtask", &program)?;
    if let Some(peer) = find(PEER) {
        add_program(root, &format!("bin/{PEER}"), &peer)?;
    }
    root.text("bench", BENCH.join("\n"), 0o644);
    Ok(())
}

/// What of the host's environment tests take their choice from.
fn environment(is_measured: bool) -> String {
    let said = |name: &&str| {
        let value = std::env::var(name).ok()?.replace('\'', r"'\''");
        Some(format!("export {name}='{value}'\n"))
    };
    let mut text: String = CHOICES.iter().filter_map(said).collect();
    // Tests that measure do not run on an emulated machine, unless they were asked for.
    if !is_measured {
        text.push_str("export TCPSTATE_EMULATED=1\n");
    }
    text
}

fn add_program(root: &mut Archive, path: &str, program: &Path) -> Result<()> {
    root.copy(path, program);
    add_libraries(root, program)
}

/// The shared libraries of a program, at the paths that they have here.
fn add_libraries(root: &mut Archive, program: &Path) -> Result<()> {
    let output = Command::new("ldd")
        .arg(program)
        .output()
        .context("cannot start ldd")?;
    for word in String::from_utf8_lossy(&output.stdout).split_whitespace() {
        if let Some(path) = word.strip_prefix('/') {
            root.copy(path, Path::new(word));
        }
    }
    Ok(())
}

/// The modules and those that they need, and the order in which to load them.
fn add_modules(root: &mut Archive, kernel: &Kernel, tree: &Path) -> Result<()> {
    let mut files = Vec::new();
    for lib in ["lib", "usr/lib"] {
        let folder = tree
            .join(lib)
            .join("modules")
            .join(kernel.release)
            .join("kernel");
        if folder.is_dir() {
            collect(&folder, &mut files)?;
        }
    }
    ensure!(
        !files.is_empty(),
        "{} holds no modules of {}",
        tree.display(),
        kernel.release
    );
    let mut order = Vec::new();
    for name in MODULES {
        add_module(root, name, &files, &mut order)?;
    }
    root.text("modules/list", order.join("\n") + "\n", 0o644);
    Ok(())
}

fn add_module(
    root: &mut Archive,
    name: &str,
    files: &[PathBuf],
    order: &mut Vec<String>,
) -> Result<()> {
    let file_name = format!("{name}.ko");
    let Some(file) = files.iter().find(|file| module_name(file) == name) else {
        return Ok(());
    };
    if order.contains(&file_name) {
        return Ok(());
    }
    let bytes = if file.extension().is_some_and(|extension| extension == "xz") {
        let output = Command::new("xz")
            .arg("-dc")
            .arg(file)
            .output()
            .context("cannot start xz; install it with: apt-get install xz-utils")?;
        ensure!(output.status.success(), "xz cannot read {}", file.display());
        output.stdout
    } else {
        fs::read(file).with_context(|| format!("reading {}", file.display()))?
    };
    for needed in needs(&bytes) {
        add_module(root, &needed, files, order)?;
    }
    root.text(&format!("modules/{file_name}"), bytes, 0o644);
    order.push(file_name);
    Ok(())
}

/// `depends=` of a module's `.modinfo`.
fn needs(module: &[u8]) -> Vec<String> {
    module
        .split(|byte| *byte == 0)
        .find_map(|text| text.strip_prefix(b"depends="))
        .map(|names| {
            String::from_utf8_lossy(names)
                .split(',')
                .filter(|name| !name.is_empty())
                .map(|name| name.replace('-', "_"))
                .collect()
        })
        .unwrap_or_default()
}

/// A module's name by its file, which may have dashes for underscores.
fn module_name(file: &Path) -> String {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    name.split('.').next().unwrap_or_default().replace('-', "_")
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    for entry in entries {
        let path = entry.context("reading the modules")?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_says_which_others_it_needs() {
        let module = b"\0license=GPL\0depends=inet_diag,nf-tables\0retpoline=Y\0";

        assert_eq!(needs(module), ["inet_diag", "nf_tables"]);
        assert!(needs(b"\0license=GPL\0depends=\0").is_empty());
    }

    #[test]
    fn a_modules_name_has_no_dashes_and_no_compression() {
        assert_eq!(
            module_name(Path::new("/a/crc32c-intel.ko.xz")),
            "crc32c_intel"
        );
    }
}
