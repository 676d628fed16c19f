//! Whether two makings gave the same bytes.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

pub(super) fn same(one: &Path, other: &Path) -> Result<()> {
    let sums = |folder: &Path| {
        fs::read_to_string(folder.join("SHA256SUMS"))
            .with_context(|| format!("there are no sums in {}", folder.display()))
    };
    let (first, second) = (sums(one)?, sums(other)?);
    let differing: Vec<&str> = first
        .lines()
        .filter(|line| !second.lines().any(|other| other == *line))
        .collect();
    ensure!(
        first == second,
        "the second making differs from the first in:\n{}\nin {} and {}",
        differing.join("\n"),
        one.display(),
        other.display()
    );
    println!("the same bytes twice: {} files", first.lines().count());
    Ok(())
}
