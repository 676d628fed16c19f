//! What the distributions' own checkers say of the packages.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// Fails at an error or a warning that is not passed over with a reason.
pub(super) fn packages(top: &Path, deb: &Path, rpm: &Path) -> Result<()> {
    let deb = deb.as_os_str().to_owned();
    let lintian = run(
        "lintian",
        &["--fail-on", "error,warning", "--tag-display-limit", "0"],
        &deb,
        "apt-get install lintian",
    )?;
    println!("lintian: {}", last(&lintian, "says nothing"));
    let config = top.join("contrib/rpm/rpmlint.toml");
    let config = config.to_str().context("a path is text")?;
    let rpmlint = run(
        "rpmlint",
        &["--strict", "--config", config],
        rpm.as_os_str(),
        "pipx install rpmlint, or apt-get install rpmlint",
    )?;
    println!("rpmlint: {}", last(&rpmlint, "says nothing"));
    Ok(())
}

fn run(
    program: &str,
    arguments: &[&str],
    package: &std::ffi::OsStr,
    install: &str,
) -> Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .arg(package)
        .env("LC_ALL", "C.UTF-8")
        .output()
        .with_context(|| format!("cannot start {program}; install it with: {install}"))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(
        output.status.success(),
        "{program}: {said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(said)
}

fn last<'a>(said: &'a str, nothing: &'a str) -> &'a str {
    said.trim().lines().next_back().unwrap_or(nothing)
}
