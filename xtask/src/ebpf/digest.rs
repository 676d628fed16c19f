//! A digest over everything that the kernel program is made of.
//!
//! `tcpstate/tests/kernel_object.rs` computes the same one in every test run.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use sha2::{Digest as _, Sha256};

/// The crates whose sources and manifests count.
const CRATES: [&str; 2] = ["tcpstate-common", "tcpstate-ebpf"];

/// SHA-256 in hexadecimal: for each file, in the order of their paths, its
/// path from the root, its length and its bytes.
pub(super) fn of_inputs(root: &Path) -> anyhow::Result<String> {
    let mut hash = Sha256::new();
    for file in inputs(root)? {
        let name = file
            .strip_prefix(root)
            .ok()
            .and_then(Path::to_str)
            .context("a source file with a strange name")?
            .to_owned();
        let bytes = fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
        hash.update(name.as_bytes());
        hash.update([0]);
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(&bytes);
    }
    Ok(format!("{:x}", hash.finalize()))
}

fn inputs(root: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for name in CRATES {
        let dir = root.join(name);
        files.push(dir.join("Cargo.toml"));
        collect(&dir.join("src"), &mut files)?;
    }
    files.sort();
    Ok(files)
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("listing {}", dir.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}
