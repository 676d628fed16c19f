//! The completions and the manual page of a root, as the shells and `man` of the host take them.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::installed::find;

/// A shell, where its completions are, and a script that prints what `tcpstate exp` may become;
/// `$FILE` is the file.
const SHELLS: [(&str, &str, &str); 3] = [
    (
        "bash",
        "/bash-completion/completions/tcpstate",
        "source \"$FILE\" && COMP_WORDS=(tcpstate exp) COMP_CWORD=1 && \
         _tcpstate tcpstate exp tcpstate && echo \"${COMPREPLY[@]}\"",
    ),
    (
        "fish",
        "/fish/vendor_completions.d/tcpstate.fish",
        "source $FILE; complete --do-complete='tcpstate exp'",
    ),
    (
        "zsh",
        "/_tcpstate",
        // What it would offer is said by its own function for the commands; the shell's machinery
        // around that, which keeps files of its own, stays out.
        "compdef() { }; _describe() { print -l ${(P)4} }; source \"$FILE\"; _tcpstate_commands",
    ),
];

/// Has each shell that there is complete a command; gives which have.
pub(super) fn complete(root: &Path, files: &BTreeSet<String>) -> Result<Vec<&'static str>> {
    let mut have = Vec::new();
    for (shell, end, script) in SHELLS {
        let file = files
            .iter()
            .find(|file| file.ends_with(end))
            .with_context(|| format!("the package has no {end}"))?;
        if find(shell).is_none() {
            println!("  there is no {shell}; install it with: apt-get install {shell}");
            continue;
        }
        let output = Command::new(shell)
            .args(["-c", script])
            .env("FILE", root.join(file.trim_start_matches('/')))
            .env("LC_ALL", "C")
            .output()
            .with_context(|| format!("cannot start {shell}"))?;
        let said = String::from_utf8_lossy(&output.stdout);
        ensure!(
            said.split(|one: char| !one.is_alphanumeric())
                .any(|word| word == "explain"),
            "{shell} completes nothing: {said}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        have.push(shell);
    }
    Ok(have)
}

/// `man tcpstate`, among the root's pages, shown without a complaint.
pub(super) fn manual_opens(root: &Path) -> Result<()> {
    let output = Command::new("man")
        .arg("--manpath")
        .arg(root.join("usr/share/man"))
        .args(["--warnings", "tcpstate"])
        .env("LC_ALL", "C.UTF-8")
        .env("MANPAGER", "cat")
        .env("MANWIDTH", "100")
        .output()
        .context("cannot start man; install it with: apt-get install man-db")?;
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success() && said.contains("SYNOPSIS") && said.contains("explain"),
        "man tcpstate: {said}{complained}"
    );
    ensure!(complained.is_empty(), "man tcpstate: {complained}");
    Ok(())
}
