//! The program for one processor: static, without symbols, and those beside it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use clap::ValueEnum;

use super::Release;
use crate::installed::find;

/// A processor that is built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Target {
    #[value(name = "x86_64")]
    X86_64,
    #[value(name = "aarch64")]
    Aarch64,
}

impl Target {
    pub(super) const ALL: [Self; 2] = [Self::X86_64, Self::Aarch64];

    /// What Rust calls it. The GNU library, linked statically: its allocator takes half of the
    /// time that musl's does.
    pub(super) fn triple(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64-unknown-linux-gnu",
            Self::Aarch64 => "aarch64-unknown-linux-gnu",
        }
    }

    /// A tool for its programs.
    fn tool(self, name: &str) -> String {
        if self.is_host() {
            name.to_owned()
        } else {
            let prefix = self.triple().replace("-unknown", "");
            format!("{prefix}-{name}")
        }
    }

    pub(super) fn is_host(self) -> bool {
        self.triple().starts_with(std::env::consts::ARCH)
    }
}

/// What was built.
pub(super) struct Built {
    pub(super) target: Target,
    /// Without symbols.
    pub(super) program: PathBuf,
    /// Its symbols.
    pub(super) debug: PathBuf,
}

/// Where a program for the target is built.
pub(super) fn folder(build: &Path, target: Target) -> PathBuf {
    build.join(target.triple()).join("dist")
}

/// Compressors of zstd's that no level up to that of recordings makes use of: 250 KB. Asked for a
/// higher level it takes the strongest that is left.
const UNUSED_COMPRESSORS: [&str; 6] = ["GREEDY", "LAZY", "LAZY2", "BTLAZY2", "BTOPT", "BTULTRA"];

/// Builds it below `build`.
pub(super) fn program(release: &Release<'_>, target: Target, build: &Path) -> Result<Built> {
    let triple = target.triple();
    let gcc = target.tool("gcc");
    ensure!(
        find(&gcc).is_some(),
        "{gcc} is not installed; install it with: apt-get install gcc-{}-linux-gnu libc6-dev-{}-cross",
        std::env::consts::ARCH,
        if target == Target::Aarch64 {
            "arm64"
        } else {
            "amd64"
        }
    );
    let lower = triple.replace('-', "_");
    let home = std::env::var("CARGO_HOME")
        .or_else(|_| std::env::var("HOME").map(|home| format!("{home}/.cargo")))
        .context("neither CARGO_HOME nor HOME is set")?;
    let places = [
        (build.display().to_string(), "/build"),
        (release.root.display().to_string(), "/tcpstate"),
        (home, "/cargo"),
    ];
    let remapped = |flag: &str| -> Vec<String> {
        let flags = places.iter();
        flags
            .map(|(from, to)| format!("{flag}={from}={to}"))
            .collect()
    };
    let mut flags = vec!["-Ctarget-feature=+crt-static".to_owned()];
    if target == Target::X86_64 {
        // Functions of the same bytes once; Rust's own linker is the default there alone.
        flags.push("-Clink-arg=-Wl,--icf=all".to_owned());
        // Addresses of the program's own in a tenth of the room, which glibc reads from 2.36 on.
        flags.push("-Clink-arg=-Wl,-z,pack-relative-relocs".to_owned());
    }
    flags.extend(remapped("--remap-path-prefix"));
    let mut c_flags = remapped("-ffile-prefix-map");
    c_flags
        .extend(UNUSED_COMPRESSORS.map(|kind| format!("-DZSTD_EXCLUDE_{kind}_BLOCK_COMPRESSOR")));
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .current_dir(release.root)
        .args([
            "build",
            "--locked",
            "--package",
            "tcpstate",
            "--bin",
            "tcpstate",
        ])
        .args(["--profile", "dist", "--target", triple])
        .env("CARGO_TARGET_DIR", build)
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
        .env(format!("CFLAGS_{lower}"), c_flags.join(" "))
        .env(format!("CC_{lower}"), &gcc)
        .env("SOURCE_DATE_EPOCH", release.time.to_string());
    // For this machine's own Rust knows better: it brings a linker.
    if !target.is_host() {
        let linker = format!("CARGO_TARGET_{}_LINKER", lower.to_uppercase());
        cargo.env(linker, &gcc);
    }
    println!("cargo build --profile dist --target {triple}");
    let status = cargo.status().context("cannot start cargo")?;
    ensure!(status.success(), "the program for {triple} cannot be built");
    let whole = folder(build, target).join("tcpstate");
    let program = build.join(format!("tcpstate-{triple}"));
    let debug = build.join(format!("tcpstate-{triple}.debug"));
    let objcopy = target.tool("objcopy");
    let tool = |arguments: &[&str], from: &Path, to: &Path| -> Result<()> {
        let status = Command::new(&objcopy)
            .args(arguments)
            .args([from, to])
            .status()
            .with_context(|| format!("cannot start {objcopy}"))?;
        ensure!(status.success(), "{objcopy} {arguments:?} failed");
        Ok(())
    };
    tool(
        &["--only-keep-debug", "--compress-debug-sections"],
        &whole,
        &debug,
    )?;
    tool(&["--strip-all"], &whole, &program)?;
    Ok(Built {
        target,
        program,
        debug,
    })
}
