//! Completes the process that made a failed call.

use std::sync::Arc;

use crate::event::{Call, FileId, Process};
use crate::snapshot::cgroup::{self, Units};
use crate::snapshot::{executable, owners, proc};

/// Threads that the kernel makes for a process's `io_uring` requests are called
/// like this; the process is the one that asked.
const IO_URING_WORKER: &str = "iou-";
/// The kernel program captured name, user and arguments; the rest is read from `/proc`
/// as far as it is still true.
pub(super) fn complete(call: &mut Call) {
    let process = Arc::make_mut(&mut call.process);
    let pid = process.pid;
    if process.container.is_some() {
        process.container_uid = process.cgroup.as_deref().and_then(cgroup::container_uid);
    }
    // Asked before and after: what is read in between is one process's and one program's.
    let is_running =
        |program: Option<FileId>| program.map(|file| executable::is_program(pid, file));
    let before = is_running(process.program);
    let now = owners::process_in_time(pid, process.argv.is_some());
    let language = executable::language(pid);
    let exe = now.as_ref().and_then(|now| now.exe.as_deref());
    let is_here = exe.is_some_and(|path| executable::is_at(pid, path));
    let after = is_running(process.program);
    let still = proc::stat(pid).map(|stat| stat.start_ticks);

    let now = now.filter(|now| now.start_ticks == still && is_same_process(process, now));
    let is_there = now.is_some();
    if let Some(now) = now {
        take_over(process, now, language, both(before, after), is_here);
    }
    process.identity = owners::of_caller(process).map(Arc::new);
    // Where another hierarchy may name a container, it takes the process to know.
    if is_there || cgroup::is_alone() {
        process.unit = owners::unit(process, &mut Units::default());
    }
}

/// Whether `/proc` shows the process that made the call, and not another one that has its
/// number now.
///
/// For a program in a time namespace `/proc` counts from another moment than the kernel:
/// there nothing is taken over.
fn is_same_process(then: &Process, now: &Process) -> bool {
    let is_other = matches!(
        (then.start_ticks, now.start_ticks),
        (Some(then), Some(now)) if then != now
    );
    !is_other && then.ppid == now.ppid
}

fn both(before: Option<bool>, after: Option<bool>) -> Option<bool> {
    Some(before? && after?)
}

/// Completes the process that made the call. `is_program`: whether it still runs the
/// program that it ran then; `None`: the kernel did not tell. `is_here`: whether that is
/// what we see at its path.
fn take_over(
    process: &mut Process,
    now: Process,
    language: Option<Arc<str>>,
    is_program: Option<bool>,
    is_here: bool,
) {
    process.parent = process.parent.take().or(now.parent);
    if process.container.is_none() {
        process.container = now.container;
        process.runtime = process.runtime.take().or(now.runtime);
        process.container_uid = now.container_uid;
    }
    process.cgroup = process.cgroup.take().or(now.cgroup);
    if is_program == Some(false) {
        return;
    }
    if process.comm.starts_with(IO_URING_WORKER) {
        process.comm = now.comm;
    }
    process.exe = process.exe.take().or(now.exe);
    process.is_exe_here = is_program == Some(true) && is_here;
    process.language = language;
    process.argv = process.argv.take().or(now.argv);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::KnownBy;

    fn caller() -> Process {
        Process {
            ppid: Some(7),
            start_ticks: Some(500),
            ..Process::new(10, 0, "server", KnownBy::Syscall)
        }
    }

    fn shown() -> Process {
        Process {
            ppid: Some(7),
            parent: Some("sh".into()),
            start_ticks: Some(500),
            exe: Some("/usr/bin/server".into()),
            argv: Some(vec!["server".to_owned()].into()),
            cgroup: Some("/x".into()),
            ..Process::new(10, 0, "server", KnownBy::Proc)
        }
    }

    fn completed(is_program: Option<bool>, is_here: bool) -> Process {
        let mut process = caller();
        take_over(
            &mut process,
            shown(),
            Some("go".into()),
            is_program,
            is_here,
        );
        process
    }

    #[test]
    fn another_process_with_the_callers_number_is_told_by_its_start_or_its_parent() {
        let with = |start_ticks, ppid| Process {
            ppid,
            start_ticks,
            ..shown()
        };

        assert!(is_same_process(&caller(), &with(Some(500), Some(7))));
        assert!(!is_same_process(&caller(), &with(Some(501), Some(7))));
        assert!(!is_same_process(&caller(), &with(Some(500), Some(1))));
        // A kernel that does not tell.
        let mut unknown = caller();
        unknown.start_ticks = None;
        assert!(is_same_process(&unknown, &with(Some(501), Some(7))));
    }

    #[test]
    fn the_callers_program_is_completed() {
        let process = completed(Some(true), true);

        assert_eq!(process.exe.as_deref(), Some("/usr/bin/server"));
        assert_eq!(process.language.as_deref(), Some("go"));
        assert!(process.argv.is_some() && process.is_exe_here);
        assert!(!completed(Some(true), false).is_exe_here);
    }

    #[test]
    fn of_a_process_that_runs_another_program_now_only_its_place_is_taken() {
        let process = completed(Some(false), true);

        assert_eq!(
            (process.exe, process.argv, process.language),
            (None, None, None)
        );
        assert!(!process.is_exe_here);
        assert_eq!(process.parent.as_deref(), Some("sh"));
        assert_eq!(process.cgroup.as_deref(), Some("/x"));
    }

    #[test]
    fn without_the_kernels_word_the_program_is_taken_but_not_vouched_for() {
        let process = completed(None, true);

        assert_eq!(process.exe.as_deref(), Some("/usr/bin/server"));
        assert!(!process.is_exe_here);
    }

    #[test]
    fn a_container_that_the_kernel_named_keeps_its_maker() {
        let mut process = caller();
        process.container = Some("inner".into());
        process.container_uid = Some(1000);
        let now = Process {
            container: Some("outer".into()),
            container_uid: Some(0),
            ..shown()
        };

        take_over(&mut process, now, None, Some(true), false);

        assert_eq!(process.container.as_deref(), Some("inner"));
        assert_eq!(process.container_uid, Some(1000));
    }
}
