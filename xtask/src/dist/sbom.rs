//! What a program is made of, as `CycloneDX`: which crates, of which versions and licences.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::Release;
use super::build::Target;
use crate::cargo;

/// As tried.
const CARGO_CYCLONEDX: &str = "0.5.9";
/// `cargo cyclonedx` writes one for each member of the workspace, beside its manifest.
const NAME: &str = "tcpstate-sbom";

pub(super) fn make(release: &Release<'_>, target: Target, out: &Path) -> Result<PathBuf> {
    cargo::require("cyclonedx", CARGO_CYCLONEDX)?;
    let triple = target.triple();
    let status = Command::new(env!("CARGO"))
        .current_dir(release.root)
        .args(["cyclonedx", "--quiet", "--format", "json"])
        .args(["--spec-version", "1.5", "--override-filename", NAME])
        .args(["--target", triple, "--manifest-path", "tcpstate/Cargo.toml"])
        .env("SOURCE_DATE_EPOCH", release.time.to_string())
        .status()
        .context("cannot start cargo cyclonedx")?;
    ensure!(status.success(), "cargo cyclonedx failed");
    let text = fs::read_to_string(written(&release.root.join("tcpstate")))
        .context("cargo cyclonedx has written nothing")?;
    for member in members(release.root)? {
        let _ = fs::remove_file(written(&member));
    }
    // Where it was made is nobody's concern, and not the same twice.
    let root = release.root.display().to_string();
    let text = text.replace(&root, "");
    let path = out.join(format!("tcpstate-{triple}-v{}.cdx.json", release.version));
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

fn written(member: &Path) -> PathBuf {
    member.join(format!("{NAME}.json"))
}

/// The folders of the workspace's members.
fn members(root: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new(env!("CARGO"))
        .current_dir(root)
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .output()
        .context("cannot start cargo metadata")?;
    let metadata: Value =
        serde_json::from_slice(&output.stdout).context("cargo metadata gives no JSON")?;
    let packages = metadata["packages"].as_array();
    let packages = packages.context("cargo metadata lists no packages")?;
    let manifests = packages
        .iter()
        .filter_map(|one| one["manifest_path"].as_str());
    Ok(manifests
        .filter_map(|manifest| Some(Path::new(manifest).parent()?.to_owned()))
        .collect())
}
