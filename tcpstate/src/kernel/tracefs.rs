//! Attaching to a tracepoint means reading its number from tracefs. Where it
//! is not mounted (minimal systems, containers), it is mounted for a moment in
//! a mount namespace of a thread of its own; the host never sees it.

use std::fs;

use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::thread::UnshareFlags;

const MOUNT_POINTS: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// Runs `attach` where tracefs can be read. If it cannot be mounted either,
/// `attach` runs all the same and reports what it misses.
pub(super) fn with<T: Send>(attach: impl FnOnce() -> T + Send) -> T {
    if is_mounted() {
        return attach();
    }
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // The mount goes with the namespace, which goes with this thread.
            let _ = mount_privately();
            attach()
        });
        match thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

fn is_mounted() -> bool {
    MOUNT_POINTS
        .iter()
        .any(|path| fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some()))
}

#[expect(
    unsafe_code,
    reason = "a thread that leaves a namespace must own nothing in it"
)]
fn mount_privately() -> rustix::io::Result<()> {
    // SAFETY: the caller's thread is new, opens absolute paths only, and ends
    // after attaching; descriptors stay valid in any mount namespace.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS | UnshareFlags::FS)? };
    mount_change(
        "/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )?;
    mount(
        "tracefs",
        MOUNT_POINTS[0],
        "tracefs",
        MountFlags::empty(),
        None,
    )
}
