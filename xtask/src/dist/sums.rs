//! `SHA256SUMS`, as `sha256sum --check` reads it.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};

pub(super) fn write(made: &[PathBuf], out: &Path) -> Result<()> {
    let mut files = made.to_vec();
    files.sort();
    let mut sums = String::new();
    for file in files {
        let content = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let _ = writeln!(sums, "{}  {name}", digest(&content));
        println!("{:>10} {name}", content.len());
    }
    fs::write(out.join("SHA256SUMS"), sums).context("cannot write SHA256SUMS")
}

/// The SHA-256 of it, in hexadecimal digits.
pub(super) fn digest(content: &[u8]) -> String {
    Sha256::digest(content)
        .iter()
        .fold(String::new(), |mut digits, byte| {
            let _ = write!(digits, "{byte:02x}");
            digits
        })
}
