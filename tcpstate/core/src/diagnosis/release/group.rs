//! Processes that are stopped together, and what else ends with them.

use std::collections::BTreeMap;

use crate::diagnosis::facts::Facts;
use crate::diagnosis::managers::Manager;
use crate::diagnosis::service::Service;
use crate::event::Process;

use super::{Releaser, TargetProcess};

/// Who is stopped together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Group {
    Unit(String),
    Container(String),
    Alone(u32),
}

impl Group {
    pub(super) fn of(process: &Process) -> Self {
        if let Some(unit) = &process.unit {
            return Self::Unit(unit.name.clone());
        }
        match &process.container {
            Some(container) if process.container_uid == Some(0) => {
                Self::Container(container.to_string())
            }
            _ => Self::Alone(process.pid),
        }
    }

    /// Whether a process ends when these are stopped, though it is none of them: the unit or
    /// the container is stopped as a whole.
    pub(super) fn ends_with(
        facts: &Facts<'_>,
        releaser: &Releaser,
        to_stop: &BTreeMap<u32, TargetProcess>,
        process: &Process,
    ) -> bool {
        let group = Self::of(process);
        let members: Vec<&Process> = to_stop
            .values()
            .map(|target| &*target.process)
            .filter(|member| Self::of(member) == group)
            .collect();
        if members.is_empty() {
            return false;
        }
        match (group, Manager::of(facts, &members)) {
            (Self::Container(_), Some(Manager::Container(..))) => true,
            (Self::Unit(_), None) => Service::of(&members)
                .is_some_and(|service| service.is_exclusive && !is_ours(&service, releaser)),
            _ => false,
        }
    }
}

/// Whether this program runs in it, and would end with it.
pub(super) fn is_ours(service: &Service, releaser: &Releaser) -> bool {
    let own = releaser.own.unit.as_ref();
    own.is_some_and(|unit| unit.name == service.name.as_str())
}
