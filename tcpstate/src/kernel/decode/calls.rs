//! Calls, and who holds the port that a failed one was about.

use std::sync::Arc;

use tcpstate_common::record::{
    ARGV_LEN, CallRecord, FailedCallRecord, Kind, MAX_HOLDERS, RecordHeader, RepeatKey, WalkStatus,
    call, via,
};

use super::fields::{self, Endpoints, requested_address, reuse, unknown, view};
use super::{DecodeError, Decoder};
use crate::event::{Body, Call, Process, Requested, Seen, SeenHolder, SeenSource, Via};
use crate::kernel::errno;
use crate::snapshot::owners::arguments;

impl Decoder {
    pub(super) fn call(&self, record: &CallRecord) -> Result<Body, DecodeError> {
        let call = self.call_fields(record, None, None)?;
        body_of(record.call, call)
    }

    pub(super) fn failed_call(&self, record: &FailedCallRecord) -> Result<Body, DecodeError> {
        let FailedCallRecord {
            call,
            argv_len,
            argv,
            program,
            ..
        } = record;
        let argv_len = usize::from(*argv_len).min(ARGV_LEN);
        let argv = arguments(&argv[..argv_len]);
        let seen = self.seen(record);
        let mut fields = Call {
            uid: (record.has_uid == 1).then_some(record.uid),
            ..self.call_fields(call, argv, seen)?
        };
        if !fields.process.is_kernel() {
            let process = Arc::make_mut(&mut fields.process);
            (process.start_ticks, process.program) = fields::program(program);
        }
        body_of(call.call, fields)
    }

    /// A port's bind bucket, read on demand; `None`: it could not be walked.
    pub fn port(&self, bytes: &[u8]) -> Result<Option<Seen>, DecodeError> {
        let header: &RecordHeader = view(bytes, 0)?;
        match Kind::from_raw(header.kind) {
            Some(Kind::Port) => Ok(self.seen(view(bytes, header.kind)?)),
            _ => Err(DecodeError::Kind(header.kind)),
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
            program: _,
            repeat: _,
            total: _,
            total_began_ns: _,
        } = record;
        let recorded = usize::from(*recorded).min(MAX_HOLDERS);
        let status = WalkStatus::from_raw(*walk);
        match status {
            WalkStatus::NotRun | WalkStatus::Failed => None,
            WalkStatus::Complete
            | WalkStatus::Truncated
            | WalkStatus::NoBucket
            | WalkStatus::Deferred => {
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
                        WalkStatus::Deferred => SeenSource::Snapshot,
                        _ => SeenSource::BindBucket,
                    },
                    is_complete: matches!(status, WalkStatus::Complete | WalkStatus::NoBucket)
                        && holders.len() == recorded,
                    visited: u32::from(*visited),
                    holders,
                    holders_more: 0,
                    sharing: fields::sharing(sharing).filter(|_| has_bucket),
                    admits_reuseaddr: has_bucket && *admits_reuseaddr == 1,
                    processes_unread: None,
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
            header: _,
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
            local: (endpoints.local.port != 0).then_some(endpoints.local),
            peer: (endpoints.peer.port != 0).then_some(endpoints.peer),
            sock: Some(endpoints.sock),
            reuse: reuse(socket.flags),
            bound_dev_if: (socket.bound_dev_if != 0).then_some(socket.bound_dev_if),
            via: match *via_raw {
                via::SYSCALL => Via::Syscall,
                via::IO_URING => Via::IoUring,
                via::KERNEL => Via::Kernel,
                value => return Err(unknown("via", value)),
            },
            unprivileged_port_start: (*unprivileged_port_start != u32::MAX)
                .then_some(*unprivileged_port_start),
            seen,
            ..Call::new(
                requested,
                self.process(task, argv)
                    .unwrap_or_else(|| Arc::new(Process::kernel())),
            )
        })
    }

    /// Calls of one kind that were counted, as one event: the last of them, and
    /// `repeated` before it. What is reported of it is what the first of them was.
    pub(in crate::kernel) fn sum(
        &self,
        first: &CallRecord,
        repeated: u64,
    ) -> Result<Body, DecodeError> {
        let call = Call {
            repeated,
            is_sum: true,
            ..self.call_fields(first, None, None)?
        };
        body_of(first.call, call)
    }
}

/// What a record of a failed call says of the count of its kind.
pub(in crate::kernel) fn count(bytes: &[u8]) -> Option<Count> {
    let record: &FailedCallRecord = view(bytes, Kind::FailedCall as u16).ok()?;
    Some(Count {
        key: record.repeat,
        total: record.total,
        began_ns: record.total_began_ns,
    })
}

/// See [`RepeatWire`](tcpstate_common::record::RepeatWire).
#[derive(Clone, Copy, Debug)]
pub(in crate::kernel) struct Count {
    pub(in crate::kernel) key: RepeatKey,
    /// 0: nobody counts this kind.
    pub(in crate::kernel) total: u64,
    pub(in crate::kernel) began_ns: u64,
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
