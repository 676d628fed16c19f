//! What happens when there is no memory left, and the limits of descriptors and locked memory.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, Ordering};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors that are enough for everything that is held open at one time.
const DESCRIPTORS: u64 = 4096;

/// The system's allocator. Where it has nothing left, the terminal is given back and
/// the program ends with a sentence and exit code 2 instead of an abort.
#[derive(Debug)]
pub struct OrEnd;

#[expect(unsafe_code, reason = "an allocator is unsafe by contract")]
// SAFETY: all is passed on to the system's allocator, whose contract is the same.
unsafe impl GlobalAlloc for OrEnd {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: what the caller guarantees.
        or_end(unsafe { System.alloc(layout) })
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: what the caller guarantees; `alloc` passes on the system's own.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: what the caller guarantees.
        or_end(unsafe { System.alloc_zeroed(layout) })
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: what the caller guarantees; `alloc` passes on the system's own.
        or_end(unsafe { System.realloc(memory, layout, size) })
    }
}

fn or_end(memory: *mut u8) -> *mut u8 {
    if memory.is_null() {
        end();
    }
    memory
}

#[cold]
#[expect(unsafe_code, reason = "nothing else ends a process without allocating")]
fn end() {
    /// The thread that ends the process; 0: none does.
    static ENDING: AtomicI32 = AtomicI32::new(0);
    const SENTENCE: &[u8] =
        b"tcpstate: there is no memory left for this; allow more address space \
        (ulimit -v unlimited), or watch less (--port, --netns)\n";
    let thread = rustix::thread::gettid().as_raw_nonzero().get();
    match ENDING.compare_exchange(0, thread, Ordering::SeqCst, Ordering::SeqCst) {
        Ok(_) => {
            crate::tui::give_back_terminal();
            let _ = rustix::io::write(rustix::stdio::stderr(), SENTENCE);
        }
        // Giving it back took memory, too.
        Err(ending) if ending == thread => {
            let _ = rustix::io::write(rustix::stdio::stderr(), SENTENCE);
        }
        Err(_) => loop {
            std::thread::park();
        },
    }
    // SAFETY: takes a number, and does not return.
    unsafe { libc::_exit(2) }
}

/// The limit that we were started with, where it was raised.
static GIVEN: OnceLock<Rlimit> = OnceLock::new();

/// Takes as many descriptors as there are for the asking: shells give few.
pub fn raise_descriptor_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let most = DESCRIPTORS.min(maximum.unwrap_or(u64::MAX));
    if current.is_some_and(|current| current < most) {
        let _ = GIVEN.set(Rlimit { current, maximum });
        let current = Some(most);
        // What cannot be had is missed where it is needed.
        let _ = setrlimit(Resource::Nofile, Rlimit { current, maximum });
    }
}

/// The limit of locked memory that we were started with, where it was lifted.
static GIVEN_LOCKED: OnceLock<Rlimit> = OnceLock::new();

/// Lifts the limit of locked memory: up to Linux 5.10 maps of the kernel program are charged
/// to it.
pub fn lift_locked_limit() {
    let unlimited = Rlimit {
        current: None,
        maximum: None,
    };
    GIVEN_LOCKED.get_or_init(|| getrlimit(Resource::Memlock));
    // Later kernels do not need it; where it fails, creating the map says so.
    let _ = setrlimit(Resource::Memlock, unlimited);
}

/// Gives back what was raised: for a program that is about to be started in our place.
/// Async-signal-safe.
pub fn restore_limits() {
    let given = [
        (Resource::Nofile, GIVEN.get()),
        (Resource::Memlock, GIVEN_LOCKED.get()),
    ];
    for (resource, limit) in given {
        if let Some(Rlimit { current, maximum }) = limit {
            let (current, maximum) = (*current, *maximum);
            let _ = setrlimit(resource, Rlimit { current, maximum });
        }
    }
}
