//! Processes whose sockets are followed, each kept once: a client that opens
//! 50,000 connections a second is one process, not 50,000.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::event::Process;

/// Processes that are remembered; the one that came up longest ago goes, and is
/// kept anew when it comes again.
const MAX_FOLLOWED: usize = 16;

/// Processes as seen in a call, with the same as known by following a socket.
#[derive(Clone, Debug, Default)]
pub(super) struct TrackedProcesses {
    latest: VecDeque<(Arc<Process>, Arc<Process>)>,
}

impl TrackedProcesses {
    /// The same process, known because its socket was followed.
    pub(super) fn tracked(&mut self, process: &Arc<Process>) -> Arc<Process> {
        if let Some((_, tracked)) = self.latest.iter().find(|(seen, _)| seen == process) {
            return Arc::clone(tracked);
        }
        let tracked = Arc::new(process.tracked());
        if self.latest.len() == MAX_FOLLOWED {
            self.latest.pop_front();
        }
        self.latest
            .push_back((Arc::clone(process), Arc::clone(&tracked)));
        tracked
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::KnownBy;

    #[test]
    fn a_process_that_comes_again_is_the_same_one() {
        let process = |pid| {
            Arc::new(Process {
                pid,
                ..Process::kernel()
            })
        };
        let mut followed = TrackedProcesses::default();

        let first = followed.tracked(&process(1));

        assert_eq!((first.pid, first.via), (1, KnownBy::Tracked));
        assert!(Arc::ptr_eq(&first, &followed.tracked(&process(1))));
        for pid in 2..=17 {
            followed.tracked(&process(pid));
        }
        assert!(!Arc::ptr_eq(&first, &followed.tracked(&process(1))));
        assert_eq!(followed.latest.len(), MAX_FOLLOWED);
    }
}
