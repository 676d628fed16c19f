//! The commands of README's install part: what is tried is what stands there.

use anyhow::{Result, bail, ensure};

/// What a command is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Installs the package of Debian and its kin.
    Deb,
    /// Installs that of Fedora, RHEL, openSUSE.
    Rpm,
    /// Puts an archive's program in place.
    Archive,
    /// Gives an image to a container engine.
    Image,
    /// What a new user runs first.
    First,
    /// Builds and runs what is in the checkout.
    Source,
    /// The tests of the checkout, which are CI's.
    Tests,
}

impl Step {
    const ALL: [Self; 7] = [
        Self::Deb,
        Self::Rpm,
        Self::Archive,
        Self::Image,
        Self::First,
        Self::Source,
        Self::Tests,
    ];

    /// `None`: nobody runs such a command.
    fn of(words: &[&str]) -> Option<Self> {
        match words {
            ["apt", "install", ..] => Some(Self::Deb),
            ["dnf", "install", ..] => Some(Self::Rpm),
            ["tar" | "install", ..] => Some(Self::Archive),
            ["docker", "load", ..] => Some(Self::Image),
            ["tcpstate", "explain" | "demo", ..] => Some(Self::First),
            ["cargo", "xtask", "test"] => Some(Self::Tests),
            ["cargo", "install" | "run", ..] => Some(Self::Source),
            _ => None,
        }
    }
}

/// The commands, each in words, without `sudo`: whoever tries them is root.
#[derive(Debug)]
pub(super) struct Readme {
    commands: Vec<(Step, Vec<String>)>,
}

const FROM: &str = "\n## Install it\n";

impl Readme {
    /// Fails where a command stands there that nobody would run, and where one is missed.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let Some((_, part)) = text.split_once(FROM) else {
            bail!("README.md has no part \"Install it\"");
        };
        let part = part.split("\n## ").next().unwrap_or_default();
        let mut commands = Vec::new();
        // What lies between two fences is code.
        for block in part.split("```").skip(1).step_by(2) {
            for line in block.lines().skip(1).map(str::trim) {
                if line.is_empty() {
                    continue;
                }
                ensure!(
                    !line.contains(['\'', '"', '\\', '|', ';', '&', '$', '>', '<', '#', '*']),
                    "README.md: a shell would have to read this, and no command is run by one: {line}"
                );
                let words: Vec<&str> = line.split_whitespace().collect();
                let words = words.strip_prefix(&["sudo"]).unwrap_or(&words);
                let Some(step) = Step::of(words) else {
                    bail!("README.md: nothing here runs this command of its install part: {line}");
                };
                commands.push((step, words.iter().map(|word| (*word).to_owned()).collect()));
            }
        }
        for step in Step::ALL {
            ensure!(
                commands.iter().any(|(of, _)| *of == step),
                "README.md: its install part has no command for {step:?}"
            );
        }
        Ok(Self { commands })
    }

    /// The commands of a step, in the order in which they stand there.
    pub(super) fn of(&self, step: Step) -> impl Iterator<Item = &[String]> {
        let commands = self.commands.iter();
        commands
            .filter(move |(of, _)| *of == step)
            .map(|(_, words)| words.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const README: &str = include_str!("../../../README.md");

    #[test]
    fn each_command_of_the_readme_is_run() {
        let readme = Readme::parse(README).unwrap();

        let count: usize = Step::ALL.map(|step| readme.of(step).count()).iter().sum();
        assert_eq!(count, readme.commands.len());
        for step in [Step::Deb, Step::Rpm, Step::Image] {
            assert_eq!(readme.of(step).count(), 1, "{step:?}");
        }
        let first: Vec<_> = readme
            .of(Step::First)
            .map(|words| words.join(" "))
            .collect();
        assert_eq!(first, ["tcpstate explain 8080", "tcpstate demo"]);
    }

    #[test]
    fn a_command_that_nobody_runs_is_an_error() {
        let with = |line: &str| README.replacen("sudo apt install", line, 1);
        for (line, said) in [
            ("sudo pacman -U", "nothing here runs"),
            ("tcpstate watch", "nothing here runs"),
            ("sudo dnf install", "no command for Deb"),
            (
                "sudo apt update && sudo apt install",
                "a shell would have to",
            ),
        ] {
            let error = Readme::parse(&with(line)).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
        let error = Readme::parse("# Nothing\n").unwrap_err().to_string();
        assert!(error.contains("no part"), "{error}");
    }
}
