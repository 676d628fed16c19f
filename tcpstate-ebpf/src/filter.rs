//! What a run is narrowed to. Asked before anything costly is done.

use tcpstate_common::config::{MAX_PIDS, flags};

use crate::{
    globals::{CONFIG, PORTS, config, is_set},
    maps::WATCHED,
    task,
};

/// Whether a socket with these ports is of interest.
#[inline(always)]
pub(crate) fn wants_ports(local: u16, peer: u16) -> bool {
    !is_set(flags::FILTER_PORTS) || has_port(local) || has_port(peer)
}

/// Whether sockets of this namespace are of interest.
#[inline(always)]
pub(crate) fn wants_netns(netns: u32) -> bool {
    !is_set(flags::FILTER_NETNS) || netns == config!(netns)
}

/// Whether calls of the current process are of interest.
#[inline(always)]
pub(crate) fn wants_current() -> bool {
    !is_set(flags::FILTER_PIDS) || is_watched_process(task::tgid())
}

/// Whether the socket belongs to a process of interest. `by_current`: the
/// current task acts on it, so that from now on it is that process's socket.
/// `listener`: where it came from.
#[inline(always)]
pub(crate) fn wants_socket(cookie: u64, by_current: bool, listener: u64) -> bool {
    if !is_set(flags::FILTER_PIDS) {
        return true;
    }
    if WATCHED.get_ptr(cookie).is_some() {
        return true;
    }
    let is_inherited = listener != 0 && WATCHED.get_ptr(listener).is_some();
    let is_own = by_current && is_watched_process(task::tgid());
    if is_inherited || is_own {
        watch(cookie);
        return true;
    }
    false
}

/// Remembers a socket of a process of interest.
#[inline(always)]
pub(crate) fn watch(cookie: u64) {
    if is_set(flags::FILTER_PIDS) && cookie != 0 {
        // A full map evicts its least recently used entry.
        let _ = WATCHED.insert(cookie, 1, 0);
    }
}

#[inline(always)]
fn has_port(port: u16) -> bool {
    let word = usize::from(port >> 6);
    // SAFETY: `word` is below `PORT_WORDS`: 65,536 ports in words of 64 bits.
    let bits = unsafe { (&raw const PORTS.0).cast::<u64>().add(word).read_volatile() };
    bits & (1 << (port & 63)) != 0
}

#[inline(always)]
fn is_watched_process(tgid: u32) -> bool {
    let count = config!(pid_count);
    for index in 0..MAX_PIDS {
        if index as u32 >= count {
            return false;
        }
        // SAFETY: `index` is inside the array.
        let pid = unsafe {
            (&raw const CONFIG.pids)
                .cast::<u32>()
                .add(index)
                .read_volatile()
        };
        if pid == tgid {
            return true;
        }
    }
    false
}
