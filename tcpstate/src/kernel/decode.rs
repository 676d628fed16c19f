//! Records of the kernel program, as bytes, into events. Pure: the same bytes
//! give the same event. Lengths, kinds and enum values are never trusted.

mod fields;
mod namespaces;
mod tasks;

use std::sync::Arc;

use tcpstate_common::record::{
    ARGV_LEN, CallRecord, FailedCallRecord, Head, HolderWire, Kind, MAX_HOLDERS, MiniRecord,
    ResetRecord, ShortStateRecord, SnapshotRecord, StateRecord, TaskWire, WalkStatus, call,
    direction, mini, mini_end, mini_event, socket_flags, userlocks, via,
};
use thiserror::Error;

use fields::{Endpoints, requested_address, reuse, state, unknown, view};

use super::errno;
use crate::event::{
    Body, Call, Direction, ExitReason, KnownBy, Mini, Process, Requested, Reset, Seen, SeenHolder,
    SeenSource, SocketSeen, Source, State, StateChange, Via,
};
use crate::snapshot::owners::arguments;
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
    tasks: tasks::Tasks,
    namespaces: namespaces::Namespaces,
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
            tasks: tasks::Tasks::default(),
            namespaces: namespaces::Namespaces::default(),
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
            namespaces: namespaces::Namespaces::of(has_cookies),
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
        let head: &Head = view(bytes, 0)?;
        let body = match Kind::from_raw(head.kind) {
            Some(Kind::State) => Body::State(self.state(view(bytes, head.kind)?)?),
            Some(Kind::ShortState) => {
                let record: &ShortStateRecord = view(bytes, head.kind)?;
                Body::State(self.state(&record.to_long())?)
            }
            Some(Kind::Reset) => Body::Reset(self.reset(view(bytes, head.kind)?)?),
            Some(Kind::Call) => self.call(view(bytes, head.kind)?)?,
            Some(Kind::FailedCall) => self.failed_call(view(bytes, head.kind)?)?,
            Some(Kind::Mini) => Body::Socket(self.mini(view(bytes, head.kind)?)?),
            Some(Kind::Snapshot | Kind::Port) | None => return Err(DecodeError::Kind(head.kind)),
        };
        Ok((head.mono_ns, body))
    }

    /// One record of the socket iterator.
    pub fn snapshot(&self, record: &SnapshotRecord) -> Result<(u64, SocketItem), DecodeError> {
        match Kind::from_raw(record.head.kind) {
            Some(Kind::Snapshot) => {}
            _ => return Err(DecodeError::Kind(record.head.kind)),
        }
        let wire = &record.holder;
        let holder = self.holder(wire)?;
        Ok((
            record.head.mono_ns,
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
            },
        ))
    }

    fn state(&self, record: &StateRecord) -> Result<StateChange, DecodeError> {
        let StateRecord {
            head: _,
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
            netns_cookie: self.namespaces.mark(*netns_cookie),
            mini,
        })
    }

    /// What a function hook saw of a mini-socket.
    fn mini(&self, record: &MiniRecord) -> Result<SocketSeen, DecodeError> {
        let MiniRecord {
            head: _,
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
            head: _,
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

    fn call(&self, record: &CallRecord) -> Result<Body, DecodeError> {
        let call = self.call_fields(record, None, None)?;
        body_of(record.call, call)
    }

    fn failed_call(&self, record: &FailedCallRecord) -> Result<Body, DecodeError> {
        let FailedCallRecord {
            call,
            argv_len,
            argv,
            ..
        } = record;
        let argv_len = usize::from(*argv_len).min(ARGV_LEN);
        let argv = arguments(&argv[..argv_len]);
        let seen = self.seen(record);
        let fields = Call {
            uid: (record.has_uid == 1).then_some(record.uid),
            ..self.call_fields(call, argv, seen)?
        };
        body_of(call.call, fields)
    }

    /// A port's bind bucket, read on demand; `None`: it could not be walked.
    pub fn port(&self, bytes: &[u8]) -> Result<Option<Seen>, DecodeError> {
        let head: &Head = view(bytes, 0)?;
        match Kind::from_raw(head.kind) {
            Some(Kind::Port) => Ok(self.seen(view(bytes, head.kind)?)),
            _ => Err(DecodeError::Kind(head.kind)),
        }
    }

    fn seen(&self, record: &FailedCallRecord) -> Option<Seen> {
        let FailedCallRecord {
            call: _,
            walk,
            reserved: _,
            recorded,
            visited,
            argv_len: _,
            uid: _,
            has_uid: _,
            admits_reuseaddr,
            padding: _,
            sharing,
            argv: _,
            holders,
        } = record;
        let recorded = usize::from(*recorded).min(MAX_HOLDERS);
        let status = WalkStatus::from_raw(*walk);
        match status {
            WalkStatus::NotRun | WalkStatus::Failed => None,
            WalkStatus::Complete
            | WalkStatus::Truncated
            | WalkStatus::NoBucket
            | WalkStatus::LeftToUser => {
                // A socket that went while the kernel program looked has no
                // family: one holder less, not a failure.
                let holders: Vec<SeenHolder> = holders[..recorded]
                    .iter()
                    .filter_map(|holder| self.holder(holder).ok())
                    .collect();
                // Else neither field was written.
                let has_bucket = matches!(status, WalkStatus::Complete | WalkStatus::Truncated);
                Some(Seen {
                    source: match status {
                        WalkStatus::LeftToUser => SeenSource::Snapshot,
                        _ => SeenSource::BindBucket,
                    },
                    is_complete: matches!(status, WalkStatus::Complete | WalkStatus::NoBucket)
                        && holders.len() == recorded,
                    visited: u32::from(*visited),
                    holders,
                    sharing: fields::sharing(sharing).filter(|_| has_bucket),
                    admits_reuseaddr: has_bucket && *admits_reuseaddr == 1,
                })
            }
        }
    }

    fn call_fields(
        &self,
        record: &CallRecord,
        argv: Option<Arc<[String]>>,
        seen: Option<Seen>,
    ) -> Result<Call, DecodeError> {
        let CallRecord {
            head: _,
            socket,
            call,
            via: via_raw,
            addr_len,
            errno: errno_raw,
            requested,
            unprivileged_port_start,
            task,
        } = record;
        let endpoints = Endpoints::of(socket)?;
        let requested = match *call {
            call::BIND | call::CONNECT => requested_address(requested, *addr_len),
            _ => Requested {
                addr: Some(endpoints.local.addr),
                port: endpoints.local.port,
            },
        };
        let failed = *errno_raw != 0;
        Ok(Call {
            ok: !failed,
            errno: failed.then_some(*errno_raw),
            errno_name: failed.then(|| errno::name(*errno_raw)),
            requested,
            local: (endpoints.local.port != 0).then_some(endpoints.local),
            peer: (endpoints.peer.port != 0).then_some(endpoints.peer),
            sock: Some(endpoints.sock),
            reuse: reuse(socket.flags),
            bound_dev_if: (socket.bound_dev_if != 0).then_some(socket.bound_dev_if),
            uid: None,
            process: self
                .process(task, argv)
                .unwrap_or_else(|| Arc::new(Process::kernel())),
            via: match *via_raw {
                via::SYSCALL => Via::Syscall,
                via::IO_URING => Via::IoUring,
                via::KERNEL => Via::Kernel,
                value => return Err(unknown("via", value)),
            },
            unprivileged_port_start: (*unprivileged_port_start != u32::MAX)
                .then_some(*unprivileged_port_start),
            sysctls: None,
            seen,
        })
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
        Some(Arc::new(Process {
            pid: *pid,
            tid: Some(*tid),
            ppid: (*ppid != 0).then_some(*ppid),
            uid: *uid,
            comm: Arc::from(String::from_utf8_lossy(&comm[..len])),
            exe: None,
            argv,
            parent: None,
            language: None,
            runtime: container
                .as_ref()
                .and_then(|container| container.runtime)
                .map(Arc::from),
            container: container.map(|container| container.id),
            cgroup,
            via: KnownBy::Syscall,
        }))
    }
}

/// Whether the record is about an RST that answers a packet.
pub(super) fn is_answer(bytes: &[u8]) -> bool {
    let kind = Kind::Reset as u16;
    view::<Head>(bytes, 0).is_ok_and(|head| head.kind == kind)
        && view::<ResetRecord>(bytes, kind)
            .is_ok_and(|record| record.direction == direction::SENT && record.has_packet == 1)
}

fn body_of(raw: u8, call: Call) -> Result<Body, DecodeError> {
    let call = Box::new(call);
    Ok(match raw {
        call::BIND => Body::Bind(call),
        call::LISTEN => Body::Listen(call),
        call::CONNECT => Body::Connect(call),
        call::ACCEPT => Body::Accept(call),
        value => return Err(unknown("call", value)),
    })
}

/// Whose a socket is that is marked as the kernel's own.
fn kernels(flags: u8) -> Option<Arc<Process>> {
    (flags & socket_flags::KERNEL != 0).then(|| Arc::new(Process::kernel()))
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
