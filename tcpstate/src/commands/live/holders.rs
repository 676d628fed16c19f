//! Completes a failed call with what only user space can see: the processes
//! that have the holders' descriptors open, and the caller's executable.
//!
//! Done at once, while they are still there.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::event::{Body, Call, KnownBy};
use crate::snapshot::owners;

/// Completes the body if it is a failed call.
pub(super) fn complete(body: &mut Body) {
    match body {
        Body::Bind(call) | Body::Listen(call) | Body::Connect(call) if !call.ok => {
            complete_caller(call);
            complete_holders(call);
        }
        _ => {}
    }
}

/// The kernel program captured name, user and arguments; executable and cgroup
/// are read from `/proc` if the process is still the same.
fn complete_caller(call: &mut Call) {
    let Some(now) = owners::process(call.process.pid) else {
        return;
    };
    if now.comm != call.process.comm || now.ppid != call.process.ppid {
        return;
    }
    let process = Arc::make_mut(&mut call.process);
    process.exe = process.exe.take().or(now.exe);
    process.argv = process.argv.take().or(now.argv);
    process.cgroup = process.cgroup.take().or(now.cgroup);
    process.container = process.container.take().or(now.container);
    debug_assert_eq!(process.via, KnownBy::Syscall);
}

fn complete_holders(call: &mut Call) {
    let Some(seen) = &mut call.seen else {
        return;
    };
    let inodes: BTreeSet<u64> = seen
        .holders
        .iter()
        .filter_map(|holder| holder.inode)
        .collect();
    let found = owners::holders(&inodes);
    for holder in &mut seen.holders {
        if let Some(inode) = holder.inode {
            holder.processes = Some(found.get(&inode).cloned().unwrap_or_default());
        }
    }
}
