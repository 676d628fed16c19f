//! What must hold before anything is loaded, each with one clear sentence.

use std::fs;
use std::path::PathBuf;

use tcpstate_common::release::numbers;

use super::{KernelError, types};

const CAP_NET_BIND_SERVICE: u32 = 10;
const CAP_SYS_ADMIN: u32 = 21;
const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;
/// The oldest kernel that the kernel program is tested on.
const OLDEST: (u32, u32) = (5, 10);

/// Checks version, type information and privileges, in this order: no
/// privilege helps a kernel that cannot do it.
pub(super) fn check() -> Result<(), KernelError> {
    let release = release();
    if numbers(&release).is_some_and(|version| version < OLDEST) {
        return Err(KernelError::TooOld { release });
    }
    let path = PathBuf::from(types::VMLINUX);
    if let Err(source) = fs::metadata(&path) {
        return Err(KernelError::NoTypeInformation { path, source });
    }
    if is_in_user_namespace() {
        return Err(KernelError::InUserNamespace { command: command() });
    }
    if !is_permitted() {
        return Err(KernelError::NotPermitted { command: command() });
    }
    Ok(())
}

/// As `uname -r` says.
pub(super) fn release() -> String {
    rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned()
}

/// Whether this process may load BPF programs and read kernel memory.
pub(super) fn is_permitted() -> bool {
    own_capabilities().is_none_or(|set| {
        let has = |capability: u32| set & (1 << capability) != 0;
        has(CAP_SYS_ADMIN) || (has(CAP_BPF) && has(CAP_PERFMON))
    })
}

/// Whether the capabilities of this process are those of a user namespace only.
fn is_in_user_namespace() -> bool {
    /// `PROC_USER_INIT_INO`: the kernel gives this number to the initial one, always.
    const INITIAL: &str = "user:[4026531837]";
    let own = fs::read_link("/proc/self/ns/user");
    own.is_ok_and(|own| own.as_os_str() != INITIAL)
}

/// Whether this process may bind low ports.
pub(super) fn has_net_bind_service() -> bool {
    own_capabilities().is_some_and(|set| set & (1 << CAP_NET_BIND_SERVICE) != 0)
}

fn own_capabilities() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    effective_capabilities(&status)
}

fn effective_capabilities(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

fn command() -> String {
    std::env::args().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn effective_capabilities_are_read_from_proc() {
        let status = "Name:\tx\nCapInh:\t0000000000000000\nCapEff:\t000000c000000000\n";

        assert_eq!(effective_capabilities(status), Some(0xc0_0000_0000));
        assert_eq!(effective_capabilities("Name:\tx\n"), None);
    }
}
