//! Tasks that were decoded lately: one that opens and closes connections is the
//! same in every record.

use std::cell::RefCell;
use std::sync::Arc;

use tcpstate_common::record::TaskWire;
use zerocopy::IntoBytes as _;

use crate::event::Process;

/// Tasks that are kept; two of one slot take turns.
const TASKS: usize = 64;

/// Tasks by what the record says of them: the same bytes are the same process.
#[derive(Clone, Debug, Default)]
pub(super) struct TaskCache {
    latest: RefCell<Vec<Option<Known>>>,
}

type Known = (TaskWire, Arc<Process>);

impl TaskCache {
    /// The process of `task`, made with `decode` if it is not known.
    pub(super) fn known(
        &self,
        task: &TaskWire,
        decode: impl FnOnce() -> Option<Arc<Process>>,
    ) -> Option<Arc<Process>> {
        // Nobody; and a cgroup's path is read anew each time.
        if task.pid == 0 || task.cgroup != 0 {
            return decode();
        }
        let mut latest = self.latest.borrow_mut();
        if latest.is_empty() {
            latest.resize(TASKS, None);
        }
        let slot = &mut latest[task.tid as usize % TASKS];
        match slot {
            Some((known, process)) if known.as_bytes() == task.as_bytes() => {
                Some(Arc::clone(process))
            }
            _ => {
                let process = decode()?;
                *slot = Some((*task, Arc::clone(&process)));
                Some(process)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_task_is_decoded_once_and_another_one_anew() {
        let task = |tid, first| TaskWire {
            pid: 7,
            tid,
            ppid: 0,
            uid: 0,
            cgroup: 0,
            comm: [first; 16],
        };
        let tasks = TaskCache::default();
        let decode = |task: &TaskWire| tasks.known(task, || Some(Arc::new(Process::kernel())));

        let first = decode(&task(7, b'a')).unwrap();

        assert!(Arc::ptr_eq(&first, &decode(&task(7, b'a')).unwrap()));
        // A new name, and another thread in the same place.
        assert!(!Arc::ptr_eq(&first, &decode(&task(7, b'b')).unwrap()));
        assert!(!Arc::ptr_eq(&first, &decode(&task(71, b'a')).unwrap()));
        assert!(tasks.known(&task(7, b'a'), || None).is_none());
    }
}
