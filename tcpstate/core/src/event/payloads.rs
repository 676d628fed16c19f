//! The payloads: their namespace, and what they take in memory besides themselves.

use super::payload::Payload;
use super::{
    Call, Diagnosis, Fallback, Flood, Footer, Header, LateHolders, Loss, Process, Reset, Restart,
    Seen, SocketSeen, StateChange, Tick, TimeWaitEnter, TimeWaitExit, Unit,
};

// One of each stream, or nothing but numbers.
impl Payload for Header {}
impl Payload for Loss {}
impl Payload for Tick {}
impl Payload for Footer {}

impl Payload for SocketSeen {
    fn netns(&self) -> Option<u32> {
        Some(self.sock.netns)
    }

    fn weight(&self) -> usize {
        of(self.process.as_deref()) + of_all(self.processes.as_deref())
    }
}

impl Payload for StateChange {
    fn netns(&self) -> Option<u32> {
        Some(self.sock.netns)
    }

    fn weight(&self) -> usize {
        of(self.process.as_deref()) + text(self.error.as_deref())
    }
}

impl Payload for TimeWaitEnter {
    fn netns(&self) -> Option<u32> {
        Some(self.sock.netns)
    }

    fn weight(&self) -> usize {
        of(self.left_by.as_deref())
    }
}

impl Payload for TimeWaitExit {
    fn netns(&self) -> Option<u32> {
        Some(self.sock.netns)
    }
}

impl Payload for Reset {
    fn netns(&self) -> Option<u32> {
        self.sock.map(|sock| sock.netns)
    }

    fn weight(&self) -> usize {
        of(self.process.as_deref()) + text(self.reason.as_deref())
    }
}

impl Payload for Call {
    fn netns(&self) -> Option<u32> {
        self.sock.map(|sock| sock.netns)
    }

    fn weight(&self) -> usize {
        let seen = self.seen.as_ref().map_or(0, of_seen);
        size_of_val(self) + of(Some(&self.process)) + text(self.netns_name.as_deref()) + seen
    }
}

impl Payload for LateHolders {
    fn netns(&self) -> Option<u32> {
        self.seen.holders.first().map(|holder| holder.sock.netns)
    }

    fn weight(&self) -> usize {
        size_of_val(self) + of_seen(&self.seen)
    }
}

impl Payload for Diagnosis {
    fn netns(&self) -> Option<u32> {
        self.holders.first().map(|holder| holder.sock.netns)
    }

    fn weight(&self) -> usize {
        let holders: usize = self
            .holders
            .iter()
            .map(|holder| {
                size_of_val(holder)
                    + size_of_val(&*holder.evidence)
                    + of(holder.process.as_deref())
                    + of_all(holder.processes.as_deref())
                    + of(holder.left_by.as_deref())
            })
            .sum();
        let fixes: usize = self
            .fixes
            .iter()
            .map(|fix| {
                size_of_val(fix)
                    + fix.text.len()
                    + text(fix.command.as_deref())
                    + text(fix.why.as_deref())
            })
            .sum();
        let missing: usize = self.missing.iter().map(String::len).sum();
        size_of_val(self) + self.summary.len() + holders + fixes + missing
    }
}

impl Payload for Restart {
    fn netns(&self) -> Option<u32> {
        Some(self.netns)
    }

    fn weight(&self) -> usize {
        size_of_val(self) + of(self.old_process.as_deref()) + of(self.new_process.as_deref())
    }
}

impl Payload for Fallback {
    fn netns(&self) -> Option<u32> {
        Some(self.netns)
    }

    fn weight(&self) -> usize {
        size_of_val(self) + size_of_val(&*self.failed) + of(Some(&self.process))
    }
}

impl Payload for Flood {
    fn weight(&self) -> usize {
        self.comm.len()
    }
}

fn of_seen(seen: &Seen) -> usize {
    let holders = seen.holders.iter();
    holders
        .map(|holder| size_of_val(holder) + of_all(holder.processes.as_deref()))
        .sum()
}

fn of_all<P: AsRef<Process>>(processes: Option<&[P]>) -> usize {
    let processes = processes.into_iter().flatten();
    processes.map(|process| of(Some(process.as_ref()))).sum()
}

fn of(process: Option<&Process>) -> usize {
    let Some(process) = process else { return 0 };
    let argv: usize = process
        .argv
        .iter()
        .flat_map(|argv| argv.iter())
        .map(|word| size_of_val(word) + word.len())
        .sum();
    size_of_val(process)
        + process.comm.len()
        + text(process.parent.as_deref())
        + text(process.exe.as_deref())
        + text(process.language.as_deref())
        + text(process.cgroup.as_deref())
        + text(process.container.as_deref())
        + text(process.runtime.as_deref())
        + process.unit.as_deref().map_or(0, of_unit)
        + argv
}

fn of_unit(unit: &Unit) -> usize {
    let others: usize = unit
        .others
        .iter()
        .map(|other| size_of_val(other) + other.comm.len())
        .sum();
    size_of_val(unit) + unit.name.len() + others
}

fn text(text: Option<&str>) -> usize {
    text.map_or(0, str::len)
}
