//! The inspection of a port: who holds it now, and what would free it. Changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use tcpstate_common::release::numbers;

use super::act::manager;
use crate::cli::SocketArgs;
use crate::commands::explain::{Asker, Extent};
use crate::diagnosis::release::{self, Act, Plan, Releaser, TargetProcess};
use crate::event::{
    Explanation, Process, Refusal, RefusedFor, ReleaseStep, Seen, SeenHolder, UnitMember, YesNo,
};
use crate::snapshot::cgroup::Units;
use crate::snapshot::sock_diag::SockDiag;
use crate::snapshot::{owners, proc};

/// Generations that are followed; parents that are read one by one may lead in a circle.
const MAX_GENERATIONS: usize = 256;

/// A port that is to be freed.
pub(super) struct Port {
    pub(super) number: u16,
    asker: Asker,
    own: Arc<Process>,
    lineage: BTreeSet<u32>,
}

/// What was found.
#[derive(Debug)]
pub(super) struct Inspection {
    pub(super) plan: Plan,
    /// What could not be seen.
    pub(super) missing: Vec<String>,
}

impl Inspection {
    /// The plan in words.
    pub(super) fn steps(&self) -> Vec<ReleaseStep> {
        self.plan
            .steps
            .iter()
            .map(|step| step.description.clone())
            .collect()
    }
}

impl Port {
    pub(super) fn new(number: u16, socket: &SocketArgs) -> Result<Self> {
        let pid = std::process::id();
        let mut own = owners::process(pid).context(
            "this process does not find itself in /proc; mount it, as it tells who holds a port",
        )?;
        own.unit = owners::unit(&own, &mut Units::default());
        own.identity = owners::of_caller(&own).map(Arc::new);
        Ok(Self {
            number,
            asker: Asker::new(number, socket)?,
            own: Arc::new(own),
            lineage: lineage(pid),
        })
    }

    /// Whether a bind would succeed, and why not.
    pub(super) fn explain(&mut self) -> Result<Explanation> {
        self.asker.ask_with_processes()
    }

    /// Whether nothing on the port stands in the way; costs little.
    pub(super) fn is_free(&mut self) -> Result<bool> {
        Ok(self.asker.ask()?.would_listen == YesNo::Yes)
    }

    /// The namespace that the port is in.
    pub(super) fn inside<T: Send>(&mut self, act: impl FnOnce(u32) -> T + Send) -> Result<T> {
        self.asker.inside(act)
    }

    /// Reads everything anew and plans.
    pub(super) fn inspect(&mut self) -> Result<Inspection> {
        let (mut seen, missing) = self.asker.read_with_processes(Extent::All)?;
        if let Some(seen) = &mut seen {
            self.add_cookies(seen)?;
        }
        let releaser = Releaser {
            own: Arc::clone(&self.own),
            lineage: self.lineage.clone(),
            units: seen.as_ref().map(units).unwrap_or_default(),
            linux: running_linux(),
        };
        let question = self.asker.question(seen.as_ref(), &missing);
        let mut plan = release::plan(&question, &releaser);
        refuse_what_managers_do_not_confirm(&mut plan);
        Ok(Inspection { plan, missing })
    }

    /// A socket has no cookie before somebody has asked for one, as this does.
    fn add_cookies(&mut self, seen: &mut Seen) -> Result<()> {
        if seen.holders.iter().all(|holder| holder.sock.cookie != 0) {
            return Ok(());
        }
        let port = self.number;
        let listed = self
            .asker
            .inside(|netns| SockDiag::open(netns).and_then(|mut diag| diag.dump_port(port)))??;
        let cookies: BTreeMap<_, u64> = listed
            .into_iter()
            .map(|item| {
                let identity = (item.sock.family, item.local, item.peer, item.inode);
                (identity, item.sock.cookie)
            })
            .collect();
        let identity =
            |holder: &SeenHolder| (holder.sock.family, holder.local, holder.peer, holder.inode);
        for holder in &mut seen.holders {
            if holder.sock.cookie == 0
                && let Some(cookie) = cookies.get(&identity(holder))
            {
                holder.sock.cookie = *cookie;
            }
        }
        Ok(())
    }
}

/// Version of the running kernel.
fn running_linux() -> Option<(u32, u32)> {
    let system = rustix::system::uname();
    numbers(system.release().to_str().ok()?)
}

/// A process, its parent, and so on.
pub(super) fn lineage(pid: u32) -> BTreeSet<u32> {
    let mut lineage = BTreeSet::from([pid]);
    let mut next = pid;
    for _ in 0..MAX_GENERATIONS {
        match proc::stat(next) {
            Some(stat) if stat.ppid != 0 => next = stat.ppid,
            _ => break,
        }
        lineage.insert(next);
    }
    lineage
}

/// All processes of the services that holders run in.
fn units(seen: &Seen) -> BTreeMap<String, Vec<UnitMember>> {
    let mut read = Units::default();
    let mut units = BTreeMap::new();
    for process in seen
        .holders
        .iter()
        .flat_map(|held| &held.processes)
        .flatten()
    {
        if let (Some(unit), Some(path)) = (&process.unit, &process.cgroup)
            && !units.contains_key(&unit.name)
        {
            units.insert(unit.name.clone(), read.members(path));
        }
    }
    units
}

/// Takes units and containers out of the plan which are not what their names say.
fn refuse_what_managers_do_not_confirm(plan: &mut Plan) {
    let mut refusals = Vec::new();
    for step in &plan.steps {
        let doubt = match &step.act {
            Act::StopUnit {
                unit, processes, ..
            } => doubt_unit(unit, processes),
            Act::StopContainer {
                inspect, processes, ..
            } => doubt_container(inspect, processes),
            Act::DestroySockets(_) | Act::DestroyLeftovers | Act::StopProcess(_) => None,
        };
        if let Some((why, text)) = doubt {
            refusals.push(Refusal {
                why,
                port: step.description.port,
                target: step.description.target.clone(),
                text,
                command: step.description.command.clone(),
            });
        }
    }
    if !refusals.is_empty() {
        // The port stays held without these steps, whatever the others do.
        plan.steps.clear();
        plan.refusals.append(&mut refusals);
    }
}

fn doubt_unit(unit: &str, processes: &[TargetProcess]) -> Option<(RefusedFor, String)> {
    let state = match manager::unit(unit) {
        Ok(state) => state,
        Err(error) => {
            let text =
                format!("systemd could not be asked for the main process of {unit}: {error:#}");
            return Some((RefusedFor::NotCertain, text));
        }
    };
    let is_of_unit = |target: &TargetProcess| {
        let path = target.process.cgroup.as_deref().unwrap_or_default();
        path.strip_prefix(state.control_group.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    if state.control_group.len() < 2 || !processes.iter().all(is_of_unit) {
        let text = format!(
            "systemd has the processes of {unit} in another control group than the holder's"
        );
        return Some((RefusedFor::NotCertain, text));
    }
    let main = state.main_pid;
    if main != 0 && processes.iter().all(|target| target.process.pid != main) {
        let text = format!(
            "its main process is {main}, which does not hold the port: stopping {unit} would end \
             more than what holds it"
        );
        return Some((RefusedFor::MainProcess, text));
    }
    None
}

fn doubt_container(
    inspect: &[String],
    processes: &[TargetProcess],
) -> Option<(RefusedFor, String)> {
    let first = match manager::first_process_of_container(inspect) {
        Ok(first) => first,
        Err(error) => {
            let text = format!("its runtime could not be asked about it: {error:#}");
            return Some((RefusedFor::NotCertain, text));
        }
    };
    // Or looks after it from outside, as podman's conmon does.
    let keeper = proc::stat(first).map(|stat| stat.ppid);
    let is_inside = |target: &TargetProcess| {
        lineage(target.process.pid).contains(&first) || keeper == Some(target.process.pid)
    };
    if processes.iter().all(is_inside) {
        return None;
    }
    let text = format!(
        "its runtime says that it began with process {first}, which the holder does not descend \
         from"
    );
    Some((RefusedFor::NotCertain, text))
}
