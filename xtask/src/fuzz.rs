//! `cargo xtask fuzz`: lets the fuzzers look for bytes that break what reads
//! recordings and kernel records.
//!
//! They begin with the corpus in `fuzz/corpus` and the recordings that the tests
//! keep. What they find new goes to `target/fuzz`, and to `fuzz/corpus` with
//! `--keep`; bytes that break something go to `fuzz/corpus` at once, so that the
//! tests have them from then on.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::cargo;

/// The fuzzers, with what is kept elsewhere and is fit to begin with.
const TARGETS: &[(&str, &[&str])] = &[
    (
        "recording",
        &["tcpstate/tests/traces", "tcpstate/tests/data/report"],
    ),
    (
        "report",
        &["tcpstate/tests/traces", "tcpstate/tests/data/report"],
    ),
    ("kernel_record", &[]),
];
/// Longest input: a few events, or a few records.
const MAX_LEN: u32 = 12_000;
/// Longest input that is kept: the corpus is part of the repository.
const MAX_KEPT_LEN: u32 = 900;

/// Which, and how long.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Which fuzzers: recording, report, `kernel_record`; default: all, one after
    /// the other.
    targets: Vec<String>,
    /// How long each runs.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Add what reaches new code to the corpus in the repository.
    #[arg(long)]
    keep: bool,
    /// Build with this sanitizer of cargo-fuzz; all but `none` need a nightly
    /// toolchain (`cargo +nightly xtask fuzz`).
    #[arg(long, default_value = "none")]
    sanitizer: String,
}

/// Runs them; fails at the first input that breaks something.
pub(crate) fn run(root: &Path, args: &Args) -> Result<()> {
    cargo::require("fuzz", "0.13.2")?;
    for name in &args.targets {
        if !TARGETS.iter().any(|(target, _)| target == name) {
            let all: Vec<&str> = TARGETS.iter().map(|(target, _)| *target).collect();
            bail!("there is no fuzzer {name}; there are {}", all.join(", "));
        }
    }
    for (target, seeds) in TARGETS {
        if args.targets.is_empty() || args.targets.iter().any(|name| name == target) {
            Fuzzer::new(root, target, seeds, &args.sanitizer)?.run(args)?;
        }
    }
    Ok(())
}

struct Fuzzer<'a> {
    root: &'a Path,
    target: &'a str,
    sanitizer: &'a str,
    seeds: Vec<PathBuf>,
    /// In the repository.
    kept: PathBuf,
    /// Of runs on this machine.
    found: PathBuf,
    build: PathBuf,
}

impl<'a> Fuzzer<'a> {
    fn new(root: &'a Path, target: &'a str, seeds: &[&str], sanitizer: &'a str) -> Result<Self> {
        let build = std::env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| root.join("target"), PathBuf::from)
            .join("fuzz");
        let found = build.join("corpus").join(target);
        let kept = root.join("fuzz/corpus").join(target);
        for folder in [&found, &kept] {
            fs::create_dir_all(folder)
                .with_context(|| format!("cannot make the folder {}", folder.display()))?;
        }
        Ok(Self {
            root,
            target,
            sanitizer,
            seeds: seeds.iter().map(|folder| root.join(folder)).collect(),
            kept,
            found,
            build,
        })
    }

    fn run(&self, args: &Args) -> Result<()> {
        let mut folders = vec![&self.found, &self.kept];
        folders.extend(&self.seeds);
        let dictionary = self.root.join("fuzz/json.dict");
        let output_text = self.fuzz(
            &folders,
            &[
                format!("-max_total_time={}", args.seconds),
                format!("-max_len={MAX_LEN}"),
                "-timeout=10".to_owned(),
                "-rss_limit_mb=1024".to_owned(),
                "-print_final_stats=1".to_owned(),
                "-verbosity=1".to_owned(),
                format!("-dict={}", dictionary.display()),
                // What breaks something is part of the corpus from then on.
                format!("-artifact_prefix={}/", self.kept.display()),
            ],
        )?;
        let executions = output_text
            .lines()
            .find_map(|line| line.strip_prefix("stat::number_of_executed_units:"))
            .map_or("?", str::trim);
        let reached = output_text
            .lines()
            .rev()
            .find_map(|line| line.split_once(" cov: "))
            .and_then(|(_, rest)| rest.split_whitespace().next())
            .unwrap_or("?");
        println!(
            "{}: {executions} executions in {} s, {reached} edges reached, nothing broke",
            self.target, args.seconds
        );
        if args.keep {
            self.fuzz(
                &[&self.kept, &self.found],
                &["-merge=1".to_owned(), format!("-max_len={MAX_KEPT_LEN}")],
            )?;
        }
        Ok(())
    }

    /// What it said. Fails with the end of that if it did.
    fn fuzz(&self, folders: &[&PathBuf], arguments: &[String]) -> Result<String> {
        let output = Command::new(env!("CARGO"))
            .current_dir(self.root)
            .args(["fuzz", "run", "--sanitizer", self.sanitizer])
            .args(["--codegen-units", "16"])
            .arg("--target-dir")
            .arg(&self.build)
            .arg(self.target)
            .args(folders)
            .arg("--")
            .args(arguments)
            .stdout(Stdio::inherit())
            .output()
            .context("cannot start cargo fuzz")?;
        let output_text = String::from_utf8_lossy(&output.stderr).into_owned();
        if !output.status.success() {
            let lines: Vec<&str> = output_text.lines().collect();
            let end = lines.len().saturating_sub(60);
            eprintln!("{}", lines[end..].join("\n"));
            bail!(
                "the fuzzer {} failed; bytes that broke something are in {}, and \
                 `cargo test -p tcpstate --test fuzz_corpus` runs them again",
                self.target,
                self.kept.display()
            );
        }
        Ok(output_text)
    }
}
