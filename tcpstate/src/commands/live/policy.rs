//! What a run asks beside the hooks: it takes in what the hooks have reported, has a part of
//! [`observe`](crate::observe) take its step, and feeds what that found.

use anyhow::Result;

use super::Live;
use crate::clock;
use crate::event::{Body, SocketSeen};
use crate::observe::completion::Completion;
use crate::observe::counted::Counted;
use crate::observe::kernel::Kernel;
use crate::observe::list::{List, Merged};
use crate::observe::losses::Losses;
use crate::observe::namespaces::NamespaceSweep;
use crate::observe::orphaned_listeners::OrphanedListeners;
use crate::observe::owners::{Owners, WAIT_FOR_ALL_AGAIN_NS, WAIT_FOR_ALL_NS};
use crate::observe::poll::Poll;
use crate::observe::reconcile::Reconcile;
use crate::observe::{resync, scope};

/// The parts.
pub(super) struct Policy {
    losses: Losses,
    poll: Poll<Kernel>,
    reconcile: Reconcile<Kernel>,
    namespaces: NamespaceSweep,
    orphaned_listeners: OrphanedListeners,
    counted: Counted,
    completion: Completion,
    pub(super) owners: Owners,
}

impl Policy {
    pub(super) fn start() -> Self {
        Self {
            losses: Losses::default(),
            poll: Poll::default(),
            reconcile: Reconcile::default(),
            namespaces: NamespaceSweep::default(),
            orphaned_listeners: OrphanedListeners::default(),
            counted: Counted::default(),
            completion: Completion::default(),
            owners: Owners::start(),
        }
    }
}

impl Live {
    /// Takes a step of each part whose time has come. `is_more`: the hooks have reported more
    /// than was taken in, which goes first. `true`: a part wants to go on at once.
    pub(super) fn step_policy(&mut self, now_ns: u64, is_more: bool) -> Result<bool> {
        if !is_more {
            let counted = self.policy.counted.step(&mut self.kernel.observer, now_ns);
            for body in counted {
                self.pipeline.feed(now_ns, body)?;
            }
        }
        if self.policy.losses.is_due(now_ns) {
            self.report_losses(now_ns)?;
            if self.policy.losses.needs_resync() && self.policy.losses.may_resync(now_ns) {
                self.resync(now_ns)?;
            }
        }
        if !is_more {
            self.poll(now_ns)?;
        }
        let gone = self
            .policy
            .namespaces
            .step(self.pipeline.engine(), &mut self.kernel);
        self.feed_all(gone)?;
        self.policy.orphaned_listeners.step(
            self.pipeline.engine(),
            &mut self.kernel,
            &mut self.policy.owners,
        );
        self.take_late_owners()?;
        if !is_more {
            self.reconcile(now_ns)?;
        }
        Ok(!is_more && self.policy.poll.is_going_on())
    }

    /// Completes a fact of the kernel program before it is fed.
    pub(super) fn complete(&mut self, mono_ns: u64, body: &mut Body) -> Result<()> {
        let policy = &mut self.policy;
        policy.namespaces.note(body, &self.kernel);
        policy.reconcile.note(body);
        policy.completion.complete(
            self.pipeline.engine(),
            &mut self.kernel,
            &mut policy.owners,
            mono_ns,
            body,
        );
        if policy.losses.is_due_before(clock::monotonic_ns(), body) {
            self.report_losses(mono_ns)?;
        }
        Ok(())
    }

    fn feed_all(&mut self, facts: Vec<(u64, Body)>) -> Result<()> {
        for (mono_ns, body) in facts {
            self.pipeline.feed(mono_ns, body)?;
        }
        Ok(())
    }

    fn poll(&mut self, now_ns: u64) -> Result<()> {
        if !self.policy.poll.is_due(now_ns) {
            return Ok(());
        }
        self.catch_up()?;
        let engine = self.pipeline.engine_mut();
        let facts = self.policy.poll.step(engine, &mut self.kernel);
        self.feed_all(facts)
    }

    fn reconcile(&mut self, now_ns: u64) -> Result<()> {
        if !self.policy.reconcile.is_due(now_ns) {
            return Ok(());
        }
        loop {
            self.catch_up()?;
            let engine = self.pipeline.engine();
            let reconcile = &mut self.policy.reconcile;
            let facts = reconcile.step(engine, &self.filters, &mut self.kernel);
            self.feed_all(facts)?;
            if !self.policy.reconcile.is_at_once() {
                return Ok(());
            }
        }
    }

    /// Feeds the processes that were found too late for the call.
    fn take_late_owners(&mut self) -> Result<()> {
        while let Some(late) = self.policy.owners.next_late() {
            self.catch_up()?;
            let facts = late.facts(self.pipeline.engine(), &mut self.kernel);
            self.feed_all(facts)?;
        }
        Ok(())
    }

    /// Reads the kernel program's counters.
    fn report_losses(&mut self, mono_ns: u64) -> Result<()> {
        let lost = self.kernel.observer.lost()?;
        if let Some(loss) = self.policy.losses.report(lost) {
            self.pipeline.feed(mono_ns, loss)?;
        }
        Ok(())
    }

    /// Reports what was lost at the end of the run, and puts the table right: there is no
    /// later.
    pub(super) fn settle_losses(&mut self, now_ns: u64) -> Result<()> {
        self.report_losses(now_ns)?;
        if self.policy.losses.needs_resync() {
            self.resync(now_ns)?;
        }
        Ok(())
    }

    /// Puts the table right after a loss.
    fn resync(&mut self, began_ns: u64) -> Result<()> {
        let listed_ns = clock::monotonic_ns();
        let list = self.list_all(WAIT_FOR_ALL_AGAIN_NS);
        let (covered, is_complete) = (list.covered.clone(), list.is_complete);
        let mut listed = resync::Listed::default();
        self.merge(list, |_, seen| {
            listed.note(seen);
            Ok(())
        })?;
        self.catch_up()?;
        let engine = self.pipeline.engine();
        let missing = resync::missing(engine, &listed, &covered, listed_ns, &mut self.kernel);
        // What the hooks saw meanwhile comes first.
        self.catch_up()?;
        let gone = missing.gone(self.pipeline.engine(), &self.kernel);
        self.feed_all(gone)?;
        let now_ns = clock::monotonic_ns();
        let losses = &mut self.policy.losses;
        if let Some(resynced) = losses.note_resync(began_ns, now_ns, is_complete) {
            self.pipeline.feed(now_ns, resynced)?;
        }
        Ok(())
    }

    /// Fills the table with the sockets that are there already. The hooks are
    /// on, so nothing falls between; what both show is merged by time.
    pub(super) fn fill_table(&mut self) -> Result<()> {
        let list = self.list_all(WAIT_FOR_ALL_NS);
        if self.verbose && self.ui.is_none() {
            let took_us = list.took_ns / 1_000;
            let (ms, rest) = (took_us / 1_000, took_us % 1_000);
            super::tell(&format!("sockets listed in {ms}.{rest:03} ms"));
        }
        for seen in list.listeners() {
            if let Some(process) = &seen.process
                && scope::wants(&self.filters, &seen)
            {
                let (netns, port) = (seen.sock.netns, seen.local.port);
                let observer = &mut self.kernel.observer;
                observer.note_listener(process.pid, netns, port)?;
            }
        }
        let is_about_processes = !self.filters.pids.is_empty();
        self.merge(list, |live, seen| {
            if is_about_processes {
                live.kernel.observer.watch(seen.sock.cookie)?;
            }
            Ok(())
        })
    }

    fn list_all(&mut self, wait_ns: u64) -> List {
        List::read(
            &mut self.kernel,
            &mut self.policy.owners,
            &self.filters,
            wait_ns,
        )
    }

    /// Feeds what the hooks reported and what the kernel listed in the order of time.
    /// `each` is called with every listed socket that the run is about.
    fn merge(
        &mut self,
        list: List,
        mut each: impl FnMut(&mut Self, &SocketSeen) -> Result<()>,
    ) -> Result<()> {
        for next in list.in_order() {
            match next {
                Merged::Reported(mono_ns, body) => self.take(mono_ns, body)?,
                Merged::Listed(found_ns, seen) if scope::wants(&self.filters, &seen) => {
                    each(self, &seen)?;
                    let engine = self.pipeline.engine();
                    if let Some(seen) = resync::unknown(engine, seen, found_ns) {
                        self.pipeline.feed(found_ns, Body::Socket(seen))?;
                    }
                }
                Merged::Listed(..) => {}
            }
        }
        Ok(())
    }
}
