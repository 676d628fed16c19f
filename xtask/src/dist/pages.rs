//! What the program says of itself: the manual page, and completions for shells.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::Release;
use super::build::Built;

/// Files, by where they are below an archive's folder.
pub(super) struct Pages {
    pub(super) files: Vec<(&'static str, PathBuf)>,
}

const COMMANDS: [(&str, &[&str]); 4] = [
    ("man/tcpstate.1", &["man"]),
    ("completions/tcpstate.bash", &["completions", "bash"]),
    ("completions/_tcpstate", &["completions", "zsh"]),
    ("completions/tcpstate.fish", &["completions", "fish"]),
];

/// Has a program that runs here say them: what was built, or the same for this machine.
pub(super) fn make(release: &Release<'_>, built: &[Built], build: &Path) -> Result<Pages> {
    let mut files = Vec::new();
    for (name, arguments) in COMMANDS {
        let here = built.iter().find(|built| built.target.is_host());
        let mut command = if let Some(here) = here {
            Command::new(&here.program)
        } else {
            let mut cargo = Command::new(env!("CARGO"));
            cargo.args(["run", "--quiet", "--locked", "--package", "tcpstate", "--"]);
            cargo
        };
        let output = command
            .current_dir(release.root)
            .args(arguments)
            .output()
            .context("cannot start the program")?;
        ensure!(
            output.status.success(),
            "tcpstate {} failed: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
        let path = build.join("pages").join(name);
        fs::create_dir_all(path.parent().context("it has a folder")?)?;
        fs::write(&path, output.stdout)?;
        files.push((name, path));
    }
    Ok(Pages { files })
}
