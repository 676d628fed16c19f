//! Records of the kernel program, as bytes, into events. Pure: the same bytes
//! give the same event. Lengths, kinds and enum values are never trusted.

pub(super) mod calls;
mod fields;
mod netns_id;
mod task_cache;

use std::sync::Arc;

use tcpstate_common::record::{
    HolderWire, Kind, MiniRecord, RecordHeader, ResetRecord, ShortStateRecord, SnapshotRecord,
    StateRecord, TaskWire, direction, mini, mini_end, mini_event, socket_flags, userlocks,
};
use thiserror::Error;

use fields::{Endpoints, reuse, state, unknown, view};

use super::errno;
use crate::event::{
    Body, Direction, ExitReason, KnownBy, Mini, Process, Reset, SeenHolder, SocketSeen, Source,
    State, StateChange,
};
use crate::snapshot::{SocketItem, cgroup};

/// Bytes that are not a record of ours.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum DecodeError {
    /// Shorter than its kind.
    #[error("record of kind {kind} is {len} bytes long, {want} are needed")]
    Short {
        /// Kind as a raw value.
        kind: u16,
        /// Its length.
        len: usize,
        /// The length of its kind.
        want: usize,
    },
    /// A kind that we do not know.
    #[error("record of unknown kind {0}")]
    Kind(u16),
    /// A field with a value that means nothing.
    #[error("{field} has the unknown value {value}")]
    Value {
        /// Name of the field.
        field: &'static str,
        /// Its value.
        value: u64,
    },
}

/// What decoding needs to know about the running kernel.
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    reset_reasons: Vec<(i64, Arc<str>)>,
    knows_connect_bound: bool,
    keeps_orphans_user: bool,
    knows_ends: bool,
    cgroups: Option<cgroup::Hierarchy>,
    tasks: task_cache::TaskCache,
    namespaces: netns_id::NetnsIds,
}

/// The user that older kernels take a socket without a descriptor for.
const ROOT: u32 = 0;

/// Prefix of the kernel's `enum sk_rst_reason`.
const REASON_PREFIX: &str = "SK_RST_REASON_";

impl Decoder {
    /// A decoder for a kernel with these names of reset reasons; with
    /// `knows_connect_bound` the kernel marks ports that `connect` chose.
    #[must_use]
    pub fn new(reset_reasons: &[(i64, String)], knows_connect_bound: bool) -> Self {
        let reset_reasons = reset_reasons
            .iter()
            .map(|(value, name)| {
                let name = name.strip_prefix(REASON_PREFIX).unwrap_or(name);
                (*value, Arc::from(name.to_ascii_lowercase()))
            })
            .collect();
        Self {
            reset_reasons,
            knows_connect_bound,
            keeps_orphans_user: false,
            knows_ends: false,
            cgroups: None,
            tasks: task_cache::TaskCache::default(),
            namespaces: netns_id::NetnsIds::default(),
        }
    }

    /// Says whether the kernel compares the user of a socket without a
    /// descriptor, too (from Linux 6.17), or takes it for root's.
    #[must_use]
    pub fn keeping_orphans_user(self, keeps_orphans_user: bool) -> Self {
        Self {
            keeps_orphans_user,
            ..self
        }
    }

    /// Says whether every function that leads to a mini-socket's end is hooked.
    #[must_use]
    pub fn knowing_ends(self, knows_ends: bool) -> Self {
        Self { knows_ends, ..self }
    }

    /// Says whether the kernel gives namespaces a cookie (from Linux 5.12).
    #[must_use]
    pub fn with_cookies_of_namespaces(self, has_cookies: bool) -> Self {
        Self {
            namespaces: netns_id::NetnsIds::of(has_cookies),
            ..self
        }
    }

    /// Lets cgroup ids be turned into paths.
    #[must_use]
    pub fn with_cgroups(self, cgroups: Option<cgroup::Hierarchy>) -> Self {
        Self { cgroups, ..self }
    }

    /// One record of the ring buffer: its time and its event.
    pub fn event(&self, bytes: &[u8]) -> Result<(u64, Body), DecodeError> {
        let header: &RecordHeader = view(bytes, 0)?;
        let body = match Kind::from_raw(header.kind) {
            Some(Kind::State) => Body::State(self.state(view(bytes, header.kind)?)?),
            Some(Kind::ShortState) => {
                let record: &ShortStateRecord = view(bytes, header.kind)?;
                Body::State(self.state(&record.to_long())?)
            }
            Some(Kind::Reset) => Body::Reset(self.reset(view(bytes, header.kind)?)?),
            Some(Kind::Call) => self.call(view(bytes, header.kind)?)?,
            Some(Kind::FailedCall) => self.failed_call(view(bytes, header.kind)?)?,
            Some(Kind::Mini) => Body::Socket(self.mini(view(bytes, header.kind)?)?),
            Some(Kind::Snapshot | Kind::Port) | None => return Err(DecodeError::Kind(header.kind)),
        };
        Ok((header.mono_ns, body))
    }

    /// One record of the socket iterator.
    pub fn snapshot(&self, record: &SnapshotRecord) -> Result<(u64, SocketItem), DecodeError> {
        match Kind::from_raw(record.header.kind) {
            Some(Kind::Snapshot) => {}
            _ => return Err(DecodeError::Kind(record.header.kind)),
        }
        let wire = &record.holder;
        let holder = self.holder(wire)?;
        Ok((
            record.header.mono_ns,
            SocketItem {
                sock: holder.sock,
                local: holder.local,
                peer: holder.peer,
                state: holder.state,
                is_mini: holder.is_mini,
                reuse: holder.reuse,
                v6only: None,
                bound_dev_if: holder.bound_dev_if,
                uid: holder.uid,
                inode: holder.inode,
                is_kernels: wire.socket.flags & socket_flags::KERNEL != 0,
                is_port_locked: holder.is_port_locked,
                is_connect_bound: holder.is_connect_bound,
                expires_ms: holder.expires_ms,
                receive_queue: None,
            },
        ))
    }

    fn state(&self, record: &StateRecord) -> Result<StateChange, DecodeError> {
        let StateRecord {
            header: _,
            socket,
            old,
            new,
            mini,
            mini_state,
            sk_err,
            sk_flags: _,
            mini_flags,
            mini_expires_ms,
            netns_cookie,
            listener,
            task,
        } = record;
        let endpoints = Endpoints::of(socket)?;
        let source = match *mini {
            mini::FOUND => Some(Source::Kernel),
            mini::INFERRED => Some(Source::Inferred),
            _ => None,
        };
        let mini = match source {
            Some(source) => Some(Mini {
                state: state("mini_state", *mini_state)?,
                expires_ms: (source == Source::Kernel).then_some(u64::from(*mini_expires_ms)),
                reuse: reuse(*mini_flags),
                source,
            }),
            None => None,
        };
        Ok(StateChange {
            sock: endpoints.sock,
            local: endpoints.local,
            peer: endpoints.peer,
            old: state("old", *old)?,
            new: state("new", *new)?,
            old_raw: *old,
            new_raw: *new,
            process: kernels(socket.flags)
                .or_else(|| self.tasks.known(task, || self.process(task, None))),
            reuse: reuse(socket.flags),
            error: (*sk_err != 0).then(|| errno::name(u32::from(*sk_err))),
            listener: (*listener != 0).then_some(*listener),
            netns_cookie: self.namespaces.identity(*netns_cookie),
            mini,
        })
    }

    /// What a function hook saw of a mini-socket.
    fn mini(&self, record: &MiniRecord) -> Result<SocketSeen, DecodeError> {
        let MiniRecord {
            header: _,
            holder,
            what,
            why,
            reserved: _,
        } = record;
        let holder = self.holder(holder)?;
        let (state, ended) = match *what {
            mini_event::REARMED => (holder.state, None),
            mini_event::ENDED => (State::Closed, self.end(*why)),
            value => return Err(unknown("what", value)),
        };
        Ok(SocketSeen {
            sock: holder.sock,
            local: holder.local,
            peer: holder.peer,
            state,
            process: None,
            processes: None,
            reuse: holder.reuse,
            expires_ms: Some(holder.expires_ms.unwrap_or(0)),
            netns_ended: None,
            ended,
            source: Source::Kernel,
        })
    }

    fn end(&self, why: u8) -> Option<ExitReason> {
        match why {
            mini_end::EXPIRED => Some(ExitReason::Expired),
            mini_end::REUSED => Some(ExitReason::Reused),
            mini_end::DESTROYED if self.knows_ends => Some(ExitReason::Destroyed),
            _ => None,
        }
    }

    fn reset(&self, record: &ResetRecord) -> Result<Reset, DecodeError> {
        let ResetRecord {
            header: _,
            socket,
            direction,
            has_socket,
            has_packet: _,
            has_reason,
            reason,
            task,
        } = record;
        let endpoints = Endpoints::of(socket)?;
        let is_known = *has_socket == 1;
        Ok(Reset {
            direction: match *direction {
                direction::SENT => Direction::Sent,
                direction::RECEIVED => Direction::Received,
                value => return Err(unknown("direction", value)),
            },
            sock: is_known.then_some(endpoints.sock),
            local: endpoints.local,
            peer: endpoints.peer,
            state: if is_known {
                Some(state("state", socket.state)?)
            } else {
                None
            },
            reason: self.reset_reason(*has_reason, *reason),
            reason_raw: (*has_reason == 1).then_some(*reason),
            process: self.process(task, None),
        })
    }

    fn reset_reason(&self, has_reason: u8, reason: u32) -> Option<Arc<str>> {
        if has_reason != 1 {
            return None;
        }
        self.reset_reasons
            .iter()
            .find(|(value, _)| *value == i64::from(reason))
            .map(|(_, name)| Arc::clone(name))
    }

    fn holder(&self, wire: &HolderWire) -> Result<SeenHolder, DecodeError> {
        let HolderWire {
            socket,
            inode,
            expires_ms,
            uid,
            userlocks: locks,
            has_owner_fields,
            is_tripped_over,
            reserved: _,
        } = wire;
        let endpoints = Endpoints::of(socket)?;
        let has_owner_fields = *has_owner_fields == 1;
        let is_mini = socket.flags & socket_flags::MINI != 0;
        let raw_state = state("state", socket.state)?;
        // A socket in a bind bucket that neither listens nor is connected.
        let state = if raw_state == State::Closed && endpoints.local.port != 0 {
            State::Bound
        } else {
            raw_state
        };
        Ok(SeenHolder {
            sock: endpoints.sock,
            local: endpoints.local,
            peer: endpoints.peer,
            state,
            is_mini,
            reuse: Some(reuse(socket.flags)),
            v6only: None,
            bound_dev_if: (socket.bound_dev_if != 0).then_some(socket.bound_dev_if),
            uid: has_owner_fields.then_some(match *inode {
                0 if !self.keeps_orphans_user => ROOT,
                _ => *uid,
            }),
            is_connect_bound: ((has_owner_fields || is_mini) && self.knows_connect_bound)
                .then_some(locks & userlocks::CONNECT_BIND != 0),
            is_port_locked: has_owner_fields.then_some(locks & userlocks::BINDPORT != 0),
            inode: (has_owner_fields && *inode != 0).then_some(*inode),
            expires_ms: is_mini.then_some(u64::try_from(*expires_ms).unwrap_or(0)),
            alike: 0,
            is_tripped_over: *is_tripped_over == 1,
            processes: kernels(socket.flags).map(|kernel| vec![kernel]),
            processes_more: 0,
            is_opener_gone: false,
        })
    }

    fn process(&self, task: &TaskWire, argv: Option<Arc<[String]>>) -> Option<Arc<Process>> {
        let TaskWire {
            pid,
            tid,
            ppid,
            uid,
            cgroup,
            comm,
        } = task;
        if *pid == 0 {
            return None;
        }
        let cgroup = match (*cgroup, &self.cgroups) {
            (0, _) | (_, None) => None,
            (id, Some(hierarchy)) => hierarchy.path(id),
        };
        let container = cgroup.as_deref().and_then(cgroup::container);
        let len = comm
            .iter()
            .position(|byte| *byte == 0)
            .unwrap_or(comm.len());
        let comm = String::from_utf8_lossy(&comm[..len]);
        Some(Arc::new(Process {
            tid: Some(*tid),
            ppid: (*ppid != 0).then_some(*ppid),
            argv,
            runtime: container
                .as_ref()
                .and_then(|container| container.runtime)
                .map(Arc::from),
            container: container.map(|container| container.id),
            cgroup,
            ..Process::new(*pid, *uid, comm, KnownBy::Syscall)
        }))
    }
}

/// Whether the record is about an RST that answers a packet.
pub(super) fn is_answer(bytes: &[u8]) -> bool {
    let kind = Kind::Reset as u16;
    view::<RecordHeader>(bytes, 0).is_ok_and(|header| header.kind == kind)
        && view::<ResetRecord>(bytes, kind)
            .is_ok_and(|record| record.direction == direction::SENT && record.has_packet == 1)
}

/// Whose a socket is that is marked as the kernel's own.
fn kernels(flags: u8) -> Option<Arc<Process>> {
    (flags & socket_flags::KERNEL != 0).then(|| Arc::new(Process::kernel()))
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
