//! The image, given to a container engine as the README says and run as docs/containers.md says.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context as _, Result, ensure};

use super::readme::{Readme, Step};
use super::{Tried, answer_is_right, seconds};
use crate::clock;
use crate::installed::find;

/// Stands in for Docker, whose commands it takes.
const ENGINE: &str = "podman";
const PAGE: &str = "docs/containers.md";
/// The engine would raise these as far as it knows how, which not every machine lets root do.
const LIMITS: [&str; 2] = ["--ulimit=nofile=1024:1024", "--ulimit=nproc=1000:1000"];

pub(super) fn try_it(top: &Path, made: &Path, roots: &Path, readme: &Readme) -> Result<Tried> {
    println!("in a container");
    let page = fs::read_to_string(top.join(PAGE)).with_context(|| format!("no {PAGE}"))?;
    let options = options(&page)?;
    // Apart from whatever images the machine has.
    let storage = roots.join("containers");
    let engine = |words: &[String]| -> Result<Output> {
        let mut command = Command::new(ENGINE);
        command.arg("--root").arg(&storage);
        // It also runs where control groups are of both versions.
        if find("runc").is_some() {
            command.args(["--runtime", "runc"]);
        }
        command
            .args(words)
            .current_dir(made)
            .output()
            .with_context(|| {
                format!("cannot start {ENGINE}; install it with: apt-get install {ENGINE}")
            })
    };
    let began = clock::now();
    for words in readme.of(Step::Image) {
        succeeded(words, &engine(&words[1..])?)?;
    }
    let mut took = None;
    for words in readme.of(Step::First).filter(|words| words[1] == "explain") {
        let run = [options.as_slice(), &words[1..]].concat();
        let output = engine(&run)?;
        answer_is_right(&output).with_context(|| run.join(" "))?;
        took.get_or_insert_with(|| began.elapsed());
    }
    let image = options.last().context("a run has an image")?.clone();
    let remove = ["rmi".to_owned(), image];
    succeeded(&remove, &engine(&remove)?)?;
    Ok(Tried {
        root: "a container, image".to_owned(),
        steps: vec![
            (
                "install to first answer",
                seconds(took.context("no answer")?),
            ),
            ("explain", "right".to_owned()),
            ("remove", "nothing left".to_owned()),
        ],
    })
}

/// From `run` to the image, of the page's line for this engine; without a terminal.
fn options(page: &str) -> Result<Vec<String>> {
    let joined = page.replace("\\\n", " ");
    let line = joined
        .lines()
        .find_map(|line| line.trim().strip_prefix("podman run "))
        .with_context(|| format!("{PAGE} has no line with podman run"))?;
    let words: Vec<&str> = line.split_whitespace().collect();
    let image = words
        .iter()
        .position(|word| word.starts_with("tcpstate:"))
        .with_context(|| format!("{PAGE} runs another image"))?;
    let options = words[..=image].iter().filter(|word| **word != "-it");
    Ok(["run"]
        .iter()
        .chain(&LIMITS)
        .chain(options)
        .map(|word| (*word).to_owned())
        .collect())
}

fn succeeded(words: &[String], output: &Output) -> Result<()> {
    ensure!(
        output.status.success(),
        "{}: {}{}",
        words.join(" "),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_says_how_the_image_is_run() {
        let options = options(include_str!("../../../docs/containers.md")).unwrap();

        assert_eq!(options[0], "run");
        assert!(
            options.contains(&"--network=host".to_owned()),
            "{options:?}"
        );
        assert!(options.last().unwrap().starts_with("tcpstate:"));
    }
}
