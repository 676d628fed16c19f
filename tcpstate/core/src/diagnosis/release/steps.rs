//! The steps, those that lose least first.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::diagnosis::command::Command;
use crate::diagnosis::destroy;
use crate::diagnosis::facts::Facts;
use crate::diagnosis::managers::{Manager, part_in_container};
use crate::diagnosis::roles::{self, Blocker};
use crate::diagnosis::service::Service;
use crate::diagnosis::{ssh, text};
use crate::event::{Halted, Process, Refusal, RefusedFor, ReleaseStep, State, StepKind};

use super::group::{Group, is_ours};
use super::holding::Holding;
use super::{Act, PlannedStep, Releaser, TargetProcess, target};

/// `SOCK_DESTROY` reaches mini-sockets since then (`tcp_abort`).
const DESTROYS_MINI_SOCKETS: (u32, u32) = (6, 0);
/// Other processes of a unit that are named.
const MAX_NAMED: usize = 8;

pub(super) struct Steps {
    pub(super) steps: Vec<PlannedStep>,
    pub(super) refusals: Vec<Refusal>,
}

pub(super) fn steps(facts: &Facts<'_>, holding: &Holding<'_, '_>, releaser: &Releaser) -> Steps {
    let mut steps = Steps {
        steps: Vec::new(),
        refusals: Vec::new(),
    };
    steps
        .steps
        .extend(destroy_unowned(facts, holding, releaser));
    steps.steps.extend(destroy_connections(facts, holding));
    stop(facts, holding, releaser, &mut steps);
    let stopped = steps
        .steps
        .iter()
        .any(|step| !matches!(step.act, Act::DestroySockets(_)));
    if stopped {
        steps.steps.push(destroy_leftovers(facts, holding));
    }
    steps
}

fn description(facts: &Facts<'_>, step: StepKind, target: String, text: String) -> ReleaseStep {
    ReleaseStep {
        step,
        port: facts.port,
        target,
        text,
        command: None,
        loses: None,
    }
}

fn destroy(facts: &Facts<'_>, blockers: &[&Blocker<'_>], loses: &str) -> Option<PlannedStep> {
    if blockers.is_empty() {
        return None;
    }
    let count = text::count(roles::count(blockers), "connection");
    let text = format!("Destroy {}", destroy::what(blockers));
    let command = destroy::command(facts, blockers).ok();
    Some(PlannedStep {
        act: Act::DestroySockets(blockers.iter().map(|b| target(b.seen)).collect()),
        description: ReleaseStep {
            command: command.and_then(|command| command.line(facts)),
            loses: Some(loses.to_owned()),
            ..description(facts, StepKind::DestroySockets, count, text)
        },
    })
}

fn destroy_unowned(
    facts: &Facts<'_>,
    holding: &Holding<'_, '_>,
    releaser: &Releaser,
) -> Option<PlannedStep> {
    let is_time_wait = |b: &&Blocker<'_>| b.seen.state == State::TimeWait;
    let is_one = roles::count(&holding.unowned) == 1;
    let those = destroy::those(is_one);
    let loses = match (holding.unowned.iter().all(is_time_wait), is_one) {
        (true, true) => format!(
            "TIME_WAIT's protection against late segments of {those}; no process has it open"
        ),
        (true, false) => format!(
            "TIME_WAIT's protection against late segments of {those}; no process has them open"
        ),
        (false, true) => {
            format!("what the peer of {those} has not received yet; no process has it open")
        }
        (false, false) => {
            format!("what the peers of {those} have not received yet; no process has them open")
        }
    };
    let mut step = destroy(facts, &holding.unowned, &loses)?;
    let are_mini = holding.unowned.iter().any(|b| b.seen.is_mini);
    if let Some((major, minor)) = releaser
        .linux
        .filter(|linux| *linux < DESTROYS_MINI_SOCKETS)
        && are_mini
    {
        let _ = write!(
            step.description.text,
            "; Linux {major}.{minor} cannot destroy a TIME_WAIT, so that it is waited for if \
             --timeout says how long"
        );
    }
    Some(step)
}

fn destroy_connections(facts: &Facts<'_>, holding: &Holding<'_, '_>) -> Option<PlannedStep> {
    let blockers = &holding.of_the_living;
    let openers = roles::names(blockers).unwrap_or_else(|| "whoever has them open".to_owned());
    let count = established(blockers.iter().copied());
    destroy(
        facts,
        blockers,
        &format!("{count}; both ends see an error, and {openers} stays"),
    )
}

fn destroy_leftovers(facts: &Facts<'_>, holding: &Holding<'_, '_>) -> PlannedStep {
    let names = text::processes(holding.to_stop.values().map(|target| &*target.process))
        .unwrap_or_default();
    let text = format!(
        "Then destroy what the connections of {names} leave on the port, if anything (FIN_WAIT, \
         TIME_WAIT; as root)"
    );
    PlannedStep {
        act: Act::DestroyLeftovers,
        description: ReleaseStep {
            loses: Some(
                "what their peers have not received by then, and TIME_WAIT's protection".to_owned(),
            ),
            ..description(
                facts,
                StepKind::DestroySockets,
                "what is left then".to_owned(),
                text,
            )
        },
    }
}

/// `2 established connections`, and those that are half closed.
fn established<'a>(connections: impl Iterator<Item = &'a Blocker<'a>>) -> String {
    let mut live = 0;
    let mut closing = 0;
    for blocker in connections {
        match blocker.seen.state {
            State::Established | State::SynSent | State::SynReceived => live += blocker.count(),
            _ => closing += blocker.count(),
        }
    }
    let live_text = text::count(live, "established connection");
    match closing {
        0 => live_text,
        closing => format!(
            "{live_text} and {}",
            text::count(closing, "half-closed connection")
        ),
    }
}

/// What processes lose that end.
fn connections_of(holding: &Holding<'_, '_>, group: &[&TargetProcess]) -> String {
    let pids: BTreeSet<u32> = group.iter().map(|target| target.process.pid).collect();
    let whole: BTreeSet<Group> = group.iter().map(|t| Group::of(&t.process)).collect();
    let ends_with_them = |blocker: &&&Blocker<'_>| {
        let open_in = blocker.open_in();
        let ends =
            |process: &&Process| pids.contains(&process.pid) || whole.contains(&Group::of(process));
        open_in.is_empty() || open_in.iter().any(ends)
    };
    established(holding.ending.iter().filter(ends_with_them).copied())
}

fn stop(facts: &Facts<'_>, holding: &Holding<'_, '_>, releaser: &Releaser, steps: &mut Steps) {
    let mut groups: BTreeMap<Group, Vec<&TargetProcess>> = BTreeMap::new();
    for target in holding.to_stop.values() {
        let group = Group::of(&target.process);
        groups.entry(group).or_default().push(target);
    }
    let mut alone: Vec<(&TargetProcess, Option<String>)> = Vec::new();
    for group in groups.values() {
        let processes: Vec<&Process> = group.iter().map(|target| &*target.process).collect();
        match Manager::of(facts, &processes) {
            Some(Manager::ToBeFound(fix)) => steps.refusals.push(Refusal {
                why: RefusedFor::HeldForAnother,
                port: facts.port,
                target: text::processes(processes).unwrap_or_default(),
                text: fix.text,
                command: fix.command,
            }),
            Some(Manager::Container(tool, name)) => {
                let inspect = Command::show_container(tool, &name).into_arguments();
                let command = Command::stop_container(tool, &name);
                let part = part_in_container(&processes);
                let text = format!("Stop the container {} that {part}", name.as_str());
                let lost = connections_of(holding, group);
                steps.steps.push(PlannedStep {
                    description: ReleaseStep {
                        command: command.line(facts),
                        loses: Some(format!("{lost}, and whatever else runs in the container")),
                        ..description(
                            facts,
                            StepKind::StopContainer,
                            name.as_str().to_owned(),
                            text,
                        )
                    },
                    act: Act::StopContainer {
                        name: name.as_str().to_owned(),
                        stop: command.into_arguments(),
                        inspect,
                        processes: group.iter().map(|&target| target.clone()).collect(),
                    },
                });
            }
            None => match Service::of(&processes) {
                Some(service) if service.is_exclusive && !is_ours(&service, releaser) => steps
                    .steps
                    .push(stop_unit(facts, holding, group, &service, releaser)),
                shared => {
                    let note = shared.map(|service| {
                        format!(
                            "{} goes on, the service that it is in, which also runs {}",
                            service.name.as_str(),
                            service.bystanders()
                        )
                    });
                    alone.extend(group.iter().map(|&target| (target, note.clone())));
                }
            },
        }
    }
    // What a parent starts again or takes with it comes after it.
    let is_child = |target: &TargetProcess| {
        let parent = target.process.ppid;
        parent.is_some_and(|parent| holding.to_stop.contains_key(&parent))
    };
    alone.sort_by_key(|(target, _)| (is_child(target), target.process.pid));
    for (target, note) in alone {
        steps
            .steps
            .push(stop_process(facts, holding, target, note, is_child(target)));
    }
}

fn stop_unit(
    facts: &Facts<'_>,
    holding: &Holding<'_, '_>,
    group: &[&TargetProcess],
    service: &Service,
    releaser: &Releaser,
) -> PlannedStep {
    let name = service.name.as_str();
    let names = text::processes(group.iter().map(|target| &*target.process)).unwrap_or_default();
    let command = Command::stop_unit(&service.name);
    let is_holder = |pid| group.iter().any(|target| target.process.pid == pid);
    let others: Vec<String> = releaser
        .units
        .get(name)
        .into_iter()
        .flatten()
        .filter(|member| !is_holder(member.pid))
        .map(|member| format!("{}[{}]", text::safe(&member.comm), member.pid))
        .collect();
    let more = others.len().saturating_sub(MAX_NAMED);
    let mut others: Vec<String> = others.into_iter().take(MAX_NAMED).collect();
    if more > 0 {
        others.push(format!("{more} more"));
    }
    let lost = connections_of(holding, group);
    let loses = match text::join(others) {
        Some(others) => format!("{lost}; besides, {others} of the service"),
        None => lost,
    };
    PlannedStep {
        description: ReleaseStep {
            command: command.line(facts),
            loses: Some(loses),
            ..description(
                facts,
                StepKind::StopUnit,
                name.to_owned(),
                format!("Stop {name}, the service of {names}"),
            )
        },
        act: Act::StopUnit {
            unit: name.to_owned(),
            stop: command.into_arguments(),
            processes: group.iter().map(|&target| target.clone()).collect(),
        },
    }
}

fn stop_process(
    facts: &Facts<'_>,
    holding: &Holding<'_, '_>,
    target: &TargetProcess,
    note: Option<String>,
    is_child: bool,
) -> PlannedStep {
    let process = &*target.process;
    let name = text::process(process);
    let started_by = match (&process.parent, process.ppid) {
        (Some(parent), Some(ppid)) if ppid > 1 => {
            format!(", which {}[{ppid}] started,", text::safe(parent))
        }
        _ => String::new(),
    };
    let halted = match process.halted {
        Some(Halted::Stopped) => " and SIGCONT, as it is stopped",
        Some(Halted::Traced) => "; a debugger has stopped it and has to let it go first",
        Some(Halted::Frozen) => "; its control group is frozen and has to be thawed first",
        Some(Halted::Defunct) | None => "",
    };
    let unless = if is_child {
        ", unless it ends with its parent"
    } else {
        ""
    };
    let lost = connections_of(holding, &[target]);
    let cost = ssh::cost_of_remote_forward(&[process]).map(str::to_owned);
    let loses = [note, cost].into_iter().flatten().fold(
        format!("{lost}, and whatever else it does"),
        |loses, more| format!("{loses}; {more}"),
    );
    PlannedStep {
        description: ReleaseStep {
            command: Command::show_processes(&[process.pid]).line(facts),
            loses: Some(loses),
            ..description(
                facts,
                StepKind::StopProcess,
                name.clone(),
                format!("Stop {name}{started_by} with SIGTERM{halted}{unless}"),
            )
        },
        act: Act::StopProcess(target.clone()),
    }
}
