//! A failed call, joined with history, becomes a diagnosis.

use std::sync::Arc;

use super::calls::port_of;
use super::{Engine, Failure};
use crate::diagnosis::{self, CallKind, Environment, KnownHolder};
use crate::event::{Body, Call, Diagnosis, LateHolders, Process, SeenHolder, State};
use crate::model::{NS_PER_MS, Phase, PortKey, SocketId};

impl Failure {
    fn is_like(&self, kind: CallKind, call: &Call) -> bool {
        let netns = |call: &Call| call.sock.map(|sock| sock.netns);
        self.kind == kind
            && self.call.process.pid == call.process.pid
            && self.call.requested.port == call.requested.port
            && self.call.errno == call.errno
            && netns(&self.call) == netns(call)
    }
}

impl Engine {
    pub(super) fn on_failure(
        &mut self,
        mono_ns: u64,
        seq: u64,
        kind: CallKind,
        call: Arc<Call>,
        key: Option<PortKey>,
    ) {
        if let Some(key) = key
            && kind != CallKind::Connect
        {
            let history = self.ports.history(key);
            history.add_failures(seq, mono_ns, call.failures());
            self.note_failed_port(mono_ns, seq, key, &call);
        }
        if let Some(seen) = &call.seen {
            self.learn_cookies_seen(seen);
        }
        self.note_holders_seen(&call);
        let diagnosis = self.diagnose((mono_ns, seq), kind, &call);
        if self.failures.len() == self.failure_limit {
            self.failures.pop_front();
        }
        self.failures.push_back(Failure {
            seq,
            mono_ns,
            kind,
            count: call.failures(),
            call,
            diagnosis: Arc::new(diagnosis.clone()),
        });
        self.push(mono_ns, Body::Diagnosis(Box::new(diagnosis)));
    }

    /// Why a call failed at `at`, its time and position.
    fn diagnose(&self, (mono_ns, seq): (u64, u64), kind: CallKind, call: &Call) -> Diagnosis {
        let known: Vec<KnownHolder> = call.seen.as_ref().map_or_else(Vec::new, |seen| {
            let known = |holder| self.known_holder(holder);
            seen.holders.iter().map(known).collect()
        });
        let mut missing = Vec::new();
        if self.unresynced > 0 {
            missing.push(format!("{} events were lost before this", self.unresynced));
        }
        let last_listener = port_of(kind, call).and_then(|key| self.last_listener(mono_ns, key));
        diagnosis::diagnose(&diagnosis::Failure {
            seq,
            kind,
            call,
            known: &known,
            environment: &self.environment(call),
            has_net_bind_service: None,
            last_listener: last_listener.as_ref(),
            missing: &missing,
            is_question: false,
        })
    }

    /// Completes the diagnosis of a call whose holders' processes were found too late for it.
    pub(super) fn on_late_holders(&mut self, mono_ns: u64, late: Box<LateHolders>) {
        let of = late.of;
        let seen = late.seen.clone();
        self.push(mono_ns, Body::Holders(late));
        let Some(failure) = self.failures.iter().find(|failure| failure.seq == of) else {
            return;
        };
        let at = (failure.mono_ns, of);
        let kind = failure.kind;
        let call = Call {
            seen: Some(seen),
            ..(*failure.call).clone()
        };
        self.note_holders_seen(&call);
        let diagnosis = self.diagnose(at, kind, &call);
        if let Some(failure) = self.failures.iter_mut().find(|failure| failure.seq == of) {
            failure.call = Arc::new(call);
            failure.diagnosis = Arc::new(diagnosis.clone());
        }
        self.push(mono_ns, Body::Diagnosis(Box::new(diagnosis)));
    }

    /// Calls that were only counted: like one that was explained before.
    pub(super) fn on_repeated(
        &mut self,
        mono_ns: u64,
        seq: u64,
        kind: CallKind,
        call: &Call,
        key: Option<PortKey>,
    ) {
        if let Some(key) = key
            && kind != CallKind::Connect
        {
            let history = self.ports.history(key);
            history.add_failures(seq, mono_ns, call.failures());
        }
        let like = self.failures.iter_mut().rev();
        if let Some(failure) = like.into_iter().find(|failure| failure.is_like(kind, call)) {
            failure.count = failure.count.saturating_add(call.failures());
        }
    }

    /// The latest failure of the same process, port and errno.
    #[must_use]
    pub fn failure_like(&self, kind: CallKind, call: &Call) -> Option<&Failure> {
        let latest = self.failures.iter().rev();
        latest
            .into_iter()
            .find(|failure| failure.is_like(kind, call))
    }

    /// Who has the listeners that were seen.
    fn note_holders_seen(&mut self, call: &Call) {
        for holder in call.seen.iter().flat_map(|seen| &seen.holders) {
            if let (State::Listen, Some(processes)) = (holder.state, &holder.processes)
                && !processes.is_empty()
            {
                let key = PortKey {
                    port: holder.local.port,
                    netns: holder.sock.netns,
                };
                let id = SocketId::of(&holder.sock, holder.local, holder.peer);
                self.note_holders(key, id, processes);
            }
        }
    }

    fn known_holder(&self, holder: &SeenHolder) -> KnownHolder {
        let id = SocketId::of(&holder.sock, holder.local, holder.peer);
        let Some(socket) = self.table.get_or_closed(&id) else {
            return KnownHolder::default();
        };
        KnownHolder {
            owner: socket.owner.clone(),
            left_by: socket.left_by.clone(),
            origin: socket.origin,
            evidence: socket.evidence(),
            predecessor: self.predecessor(holder),
        }
    }

    /// A process of the same parent that an earlier failed call found with this port, and
    /// that is not among those who have it now.
    fn predecessor(&self, holder: &SeenHolder) -> Option<Arc<Process>> {
        let [now] = holder.processes.as_deref()? else {
            return None;
        };
        // What pid 1 has for a child may be anybody's.
        let parent = now.ppid.filter(|parent| *parent > 1)?;
        let mut earlier = self.failures.iter().rev().flat_map(|failure| {
            let seen = failure.call.seen.iter().flat_map(|seen| &seen.holders);
            seen.filter(|seen| {
                seen.local.port == holder.local.port && seen.sock.netns == holder.sock.netns
            })
        });
        let before = earlier.find_map(|seen| match seen.processes.as_deref() {
            Some([before]) if before.pid != now.pid => Some(before),
            _ => None,
        })?;
        (before.ppid == Some(parent) && before.exe == now.exe).then(|| Arc::clone(before))
    }

    /// The call's namespace, as far as the engine knows it from events.
    fn environment(&self, call: &Call) -> Environment {
        Environment {
            own_netns: self.header.as_ref().and_then(|header| header.netns),
            rtnetlink_inode: call.rtnetlink_inode,
            netns_name: call.netns_name.as_deref().map(str::to_owned),
            ..self.settings(call)
        }
    }

    /// The settings that were in force for the call; those of the header hold
    /// for one namespace only.
    fn settings(&self, call: &Call) -> Environment {
        if let Some(sysctls) = &call.sysctls {
            return Environment::from(&**sysctls);
        }
        let header = self.header.as_ref().filter(|header| {
            let netns = header.filters.netns.or(header.netns);
            netns.is_some() && netns == call.sock.map(|sock| sock.netns)
        });
        header
            .map(|header| Environment::from(&header.sysctls))
            .unwrap_or_default()
    }

    fn last_listener(&self, mono_ns: u64, key: PortKey) -> Option<diagnosis::PastListener> {
        let Phase::Down {
            since_ns,
            closed_seq,
            old_process,
        } = &self.ports.get(&key)?.phase
        else {
            return None;
        };
        Some(diagnosis::PastListener {
            process: old_process.clone(),
            closed_ms_ago: mono_ns.saturating_sub(*since_ns) / NS_PER_MS,
            seq: *closed_seq,
        })
    }
}
