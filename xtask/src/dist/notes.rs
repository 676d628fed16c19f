//! Release notes: what the CHANGELOG says of the version.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use super::Release;

pub(super) fn make(release: &Release<'_>, out: &Path) -> Result<PathBuf> {
    let changes = fs::read_to_string(release.root.join("CHANGELOG.md"))
        .context("cannot read CHANGELOG.md")?;
    let notes = of_version(&changes, &release.version)
        .or_else(|| of_version(&changes, "Unreleased"))
        .context("CHANGELOG.md has nothing about this version")?;
    ensure!(
        !notes.is_empty(),
        "CHANGELOG.md says nothing of this version"
    );
    let path = out.join("RELEASE-NOTES.md");
    fs::write(&path, format!("{notes}\n")).context("cannot write the release notes")?;
    Ok(path)
}

/// What lies between the heading of a version and the next one.
fn of_version<'a>(changes: &'a str, version: &str) -> Option<&'a str> {
    let heading = format!("\n## [{version}]");
    let from = changes.find(&heading)? + heading.len();
    let rest = changes.get(from..)?;
    let rest = rest.split_once('\n')?.1;
    let end = rest.find("\n## ").unwrap_or(rest.len());
    rest.get(..end).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_has_what_stands_below_its_heading() {
        let changes = "# Changelog\n\n## [Unreleased]\n\n## [0.2.0] - 2027-01-01\n\n### Added\n- a\n\n\
                       ## [0.1.0]\n- b\n";

        assert_eq!(of_version(changes, "0.2.0"), Some("### Added\n- a"));
        assert_eq!(of_version(changes, "0.1.0"), Some("- b"));
        assert_eq!(of_version(changes, "Unreleased"), Some(""));
        assert_eq!(of_version(changes, "0.3.0"), None);
    }
}
