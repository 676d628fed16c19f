//! The systemd service that processes run in, as far as root's control groups
//! show it, and whether it is theirs alone.

use std::collections::BTreeSet;

use crate::event::{Process, Unit, UnitMember};

use super::command::UnitName;
use super::text;

/// Other processes of a service that advice names.
const MAX_NAMED: usize = 2;

/// A service in which processes run.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Service {
    pub(super) name: UnitName,
    /// What else runs in it, as far as it was listed.
    others: Vec<UnitMember>,
    /// Whether nothing else runs in it.
    pub(super) is_exclusive: bool,
}

impl Service {
    /// The one service of all of these processes.
    pub(super) fn of(processes: &[&Process]) -> Option<Self> {
        let units: Vec<&Unit> = processes
            .iter()
            .map(|process| process.unit.as_deref())
            .collect::<Option<_>>()?;
        let first = units.first()?;
        let name = UnitName::parse(&first.name)?;
        if units.iter().any(|unit| unit.name != first.name) {
            return None;
        }
        // Whoever neither is one of them nor descends from one stands in the list of
        // each of them.
        let pids: BTreeSet<u32> = processes.iter().map(|process| process.pid).collect();
        let is_in_all = |other: &UnitMember| {
            units
                .iter()
                .all(|unit| unit.more > 0 || unit.others.iter().any(|own| own.pid == other.pid))
        };
        let others: Vec<UnitMember> = first
            .others
            .iter()
            .filter(|other| !pids.contains(&other.pid) && is_in_all(other))
            .cloned()
            .collect();
        let has_root = units
            .iter()
            .any(|unit| unit.others.is_empty() && unit.more == 0);
        let are_all_listed = units.iter().all(|unit| unit.more == 0);
        Some(Self {
            name,
            is_exclusive: has_root || (are_all_listed && others.is_empty()),
            others,
        })
    }

    /// The name without `.service`.
    pub(super) fn stem(&self) -> &str {
        self.name.as_str().trim_end_matches(".service")
    }

    /// `cron[12]`, `cron[12] and others`: what a stop of the service would end too.
    pub(super) fn bystanders(&self) -> String {
        let mut names: Vec<String> = self
            .others
            .iter()
            .take(MAX_NAMED)
            .map(|other| format!("{}[{}]", text::safe(&other.comm), other.pid))
            .collect();
        if names.is_empty() || self.others.len() > names.len() {
            names.push("other processes".to_owned());
        }
        text::join(names).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::test_support::{in_unit, process};

    #[test]
    fn a_service_is_theirs_if_nothing_else_runs_in_it() {
        let master = in_unit(process(10, "nginx"), "nginx.service", &[]);
        let worker = in_unit(process(11, "nginx"), "nginx.service", &[10, 12]);
        let cron_job = in_unit(process(20, "job"), "cron.service", &[19]);

        assert!(Service::of(&[&master]).unwrap().is_exclusive);
        assert!(Service::of(&[&master, &worker]).unwrap().is_exclusive);
        assert!(!Service::of(&[&worker]).unwrap().is_exclusive);
        let cron = Service::of(&[&cron_job]).unwrap();
        assert!(!cron.is_exclusive);
        assert_eq!(cron.bystanders(), "other[19]");
        assert_eq!(Service::of(&[&master, &cron_job]), None);
        assert_eq!(Service::of(&[&process(1, "x")]), None);
        assert_eq!(Service::of(&[]), None);
    }

    #[test]
    fn orphans_of_a_master_that_has_ended_are_the_service_together() {
        let one = in_unit(process(11, "worker"), "web.service", &[12]);
        let two = in_unit(process(12, "worker"), "web.service", &[11]);

        assert!(Service::of(&[&one, &two]).unwrap().is_exclusive);
        assert!(!Service::of(&[&one]).unwrap().is_exclusive);
    }

    #[test]
    fn what_was_not_looked_at_may_be_anything() {
        let mut process = in_unit(process(11, "worker"), "web.service", &[]);
        let unit = std::sync::Arc::make_mut(process.unit.as_mut().unwrap());
        unit.more = 1;

        let service = Service::of(&[&process]).unwrap();

        assert!(!service.is_exclusive);
        assert_eq!(service.bystanders(), "other processes");
    }
}
