//! Counts the ports that the kernel may choose when a call found none of them free.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::kernel::Kernel;
use super::owners::Owners;
use crate::clock;
use crate::event::{Body, Call, Ephemeral, EphemeralUser, Errno, Process};
use crate::pace::{Limit, Pace};
use crate::snapshot::ephemeral::{self, Purpose};

/// Counting takes a twentieth of the time at most, and is done once a second at most: a
/// client that finds no port asks again at once.
const LIMIT: Limit = Limit {
    least_ns: 1_000_000_000,
    factor: 20,
};
/// Longest wait for the names of those who have the ports.
const WAIT_NS: u64 = 80_000_000;
/// Processes that are listed.
const MAX_USERS: usize = 3;

/// The last count.
#[derive(Debug, Default)]
pub(super) struct LastCount {
    pace: Pace,
    of: Option<(u32, Purpose)>,
    counted: Option<Ephemeral>,
}

impl LastCount {
    /// Of a failed call that wanted any port.
    pub(super) fn complete(&mut self, kernel: &mut Kernel, owners: &mut Owners, body: &mut Body) {
        let Some((call, netns, purpose)) = wanted(body) else {
            return;
        };
        let began_ns = clock::monotonic_ns();
        if self.pace.is_due(began_ns) {
            self.of = Some((netns, purpose));
            self.counted = count(kernel, owners, call, netns, purpose);
            let cost_ns = clock::monotonic_ns().saturating_sub(began_ns);
            self.pace.pause(began_ns, LIMIT.pause_ns(cost_ns));
        }
        if self.of == Some((netns, purpose)) {
            call.ephemeral = self.counted.clone().map(Box::new);
        }
    }
}

fn count(
    kernel: &mut Kernel,
    owners: &mut Owners,
    call: &Call,
    netns: u32,
    purpose: Purpose,
) -> Option<Ephemeral> {
    let sysctls = call.sysctls.as_deref()?;
    let read = || ephemeral::read(netns, sysctls, purpose);
    let (mut counted, inodes) = kernel.namespaces.inside(netns, read).ok()??;
    let asked: BTreeSet<u64> = inodes.iter().copied().collect();
    let owners = owners.first_of(kernel, asked, WAIT_NS, |_| {});
    counted.users = users(&inodes, &owners);
    Some(counted)
}

/// The call, its namespace and what it wanted a port for, if it is such a call.
fn wanted(body: &mut Body) -> Option<(&mut Call, u32, Purpose)> {
    let (call, is_bind) = match body {
        // A socket that listens without a bind is bound first.
        Body::Bind(call) | Body::Listen(call) => (call, true),
        Body::Connect(call) => (call, false),
        _ => return None,
    };
    let error = call.error();
    let has_port = call.local.is_some_and(|local| local.port != 0);
    let netns = call.sock?.netns;
    let addr = call.requested.addr?;
    let wants_any = !has_port && call.requested.port == 0;
    let purpose = if is_bind && error == Some(Errno::AddrInUse) && wants_any {
        Purpose::Bind(addr)
    } else if !is_bind && error == Some(Errno::AddrNotAvail) && !has_port {
        Purpose::Connect(crate::event::Endpoint {
            addr,
            port: call.requested.port,
        })
    } else {
        return None;
    };
    Some((call, netns, purpose))
}

/// Who has most of them first.
fn users(inodes: &[u64], owners: &BTreeMap<u64, Arc<Process>>) -> Vec<EphemeralUser> {
    let mut by_pid: BTreeMap<u32, EphemeralUser> = BTreeMap::new();
    for process in inodes.iter().filter_map(|inode| owners.get(inode)) {
        let user = by_pid.entry(process.pid).or_insert_with(|| EphemeralUser {
            process: Arc::clone(process),
            sockets: 0,
        });
        user.sockets = user.sockets.saturating_add(1);
    }
    let mut users: Vec<EphemeralUser> = by_pid.into_values().collect();
    users.sort_by_key(|user| std::cmp::Reverse(user.sockets));
    users.truncate(MAX_USERS);
    users
}
