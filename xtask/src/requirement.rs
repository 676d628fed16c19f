//! Skipped tests, held against what the machine has: a test that skipped for want of
//! something that is there has not been run.
//!
//! A test says itself what it requires (`tcpstate/tests/support/src/requirement.rs`);
//! this reads what it recorded.

use std::collections::BTreeSet;

use tcpstate_common::release::numbers;

use crate::installed;

/// One test that did not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Skip {
    pub(crate) test: String,
    /// What was required, such as `program nginx` or `linux 6.10`.
    form: String,
    /// The same for a person.
    pub(crate) why: String,
}

/// What a machine has that tests may require.
#[derive(Debug)]
pub(crate) struct Machine {
    /// Its version of Linux; `None`: not known.
    pub(crate) linux: Option<(u32, u32)>,
    /// Whether that has all that a distribution's kernel of its version has.
    pub(crate) is_distribution: bool,
    pub(crate) processors: usize,
    pub(crate) is_root: bool,
    pub(crate) is_emulated: bool,
    pub(crate) programs: Programs,
}

/// Where its programs are.
#[derive(Debug)]
pub(crate) enum Programs {
    /// Whatever is installed here.
    Here,
    /// A list of names.
    Listed(BTreeSet<String>),
}

impl Machine {
    /// This one.
    pub(crate) fn this() -> Self {
        let release = rustix::system::uname()
            .release()
            .to_string_lossy()
            .into_owned();
        Self {
            linux: numbers(&release),
            is_distribution: false,
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            is_root: rustix::process::geteuid().is_root(),
            is_emulated: false,
            programs: Programs::Here,
        }
    }

    fn has_program(&self, name: &str) -> bool {
        match &self.programs {
            Programs::Here => installed::find(name).is_some(),
            Programs::Listed(names) => names.contains(name),
        }
    }

    fn is_from(&self, version: &str) -> Option<bool> {
        let version = numbers(version)?;
        Some(self.linux? >= version)
    }

    /// Whether it has what was required; `None`: only the test can know.
    fn has(&self, form: &str) -> Option<bool> {
        let (kind, what) = form.split_once(' ').unwrap_or((form, ""));
        match kind {
            "root" => Some(self.is_root),
            "program" => Some(self.has_program(what)),
            "linux" => self.is_from(what),
            "before" => self.is_from(what).map(|is_from| !is_from),
            "processors" => what
                .parse()
                .ok()
                .map(|count: usize| self.processors >= count),
            "real-time" => Some(!self.is_emulated),
            "sources" => Some(!self.is_distribution),
            "feature" if self.is_distribution => Some(self.is_from(what).unwrap_or(true)),
            _ => None,
        }
    }
}

impl Skip {
    /// A line of the file that `TCPSTATE_SKIPPED` names.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let mut parts = line.trim_end().splitn(3, '\t');
        let mut next = || parts.next().map(str::to_owned);
        Some(Self {
            test: next()?,
            form: next()?,
            why: next()?,
        })
    }

    /// What is wrong with it on this machine.
    pub(crate) fn complaint(&self, machine: &Machine) -> Option<String> {
        let Self { test, form, why } = self;
        (machine.has(form) == Some(true))
            .then(|| format!("{test} should have run here: {why} ({form})"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guest() -> Machine {
        Machine {
            linux: Some((6, 1)),
            is_distribution: true,
            processors: 1,
            is_root: true,
            is_emulated: true,
            programs: Programs::Listed(["ss".to_owned()].into()),
        }
    }

    fn is_right(form: &str) -> bool {
        let skip = Skip::parse(&format!("a::b\t{form}\tso it is")).unwrap();
        skip.complaint(&guest()).is_none()
    }

    #[test]
    fn what_the_machine_lacks_is_a_reason() {
        for form in [
            "program nginx",
            "linux 6.10",
            "before 6.0",
            "sources",
            "processors 2",
            "real-time",
            "feature 6.11",
        ] {
            assert!(is_right(form), "{form}");
        }
    }

    #[test]
    fn what_the_machine_has_is_no_reason() {
        for form in [
            "root",
            "program ss",
            "linux 5.12",
            "before 6.8",
            "processors 1",
            "feature 5.15",
            "feature",
        ] {
            assert!(!is_right(form), "{form}");
        }
    }

    #[test]
    fn a_kernel_of_ones_own_making_may_lack_what_its_version_brought() {
        let machine = Machine {
            is_distribution: false,
            ..guest()
        };
        let skip = Skip::parse("a::b\tfeature 5.15\tthis kernel has no MPTCP").unwrap();

        assert_eq!(skip.complaint(&machine), None);
    }
}
