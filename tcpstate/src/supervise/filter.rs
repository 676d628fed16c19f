//! The seccomp filter: `bind`, `listen` and `landlock_restrict_self` are put before the
//! supervisor, everything else passes in a few instructions.
//!
//! Written out, because the pure crate for such filters (`seccompiler`) has no user
//! notification, and `libseccomp` is a C library.

use std::io;
use std::os::fd::{FromRawFd as _, OwnedFd};

use libc::{BPF_ABS, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, sock_filter, sock_fprog};

/// `nr` in `struct seccomp_data`.
const NUMBER: u32 = 0;
/// `arch` in `struct seccomp_data`.
const ARCH: u32 = 4;
/// The low half of the first argument, on a little-endian machine.
#[cfg(target_arch = "x86_64")]
const FIRST_ARGUMENT: u32 = 16;

/// What the machine calls its own system calls (`linux/audit.h`).
#[cfg(target_arch = "x86_64")]
pub const NATIVE: u32 = 0xc000_003e;
/// What the machine calls its own system calls (`linux/audit.h`).
#[cfg(target_arch = "aarch64")]
pub const NATIVE: u32 = 0xc000_00b7;
/// The same of 32-bit programs.
#[cfg(target_arch = "x86_64")]
const NARROW: u32 = 0x4000_0003;
/// The same of 32-bit programs.
#[cfg(target_arch = "aarch64")]
const NARROW: u32 = 0x4000_0028;
/// `bind` of 32-bit programs.
#[cfg(target_arch = "x86_64")]
const NARROW_BIND: u32 = 361;
/// `bind` of 32-bit programs.
#[cfg(target_arch = "aarch64")]
const NARROW_BIND: u32 = 282;
/// `socketcall` of i386, whose first argument says which call is meant.
#[cfg(target_arch = "x86_64")]
const SOCKETCALL: u32 = 102;
/// `SYS_BIND` of `socketcall`.
#[cfg(target_arch = "x86_64")]
const SOCKETCALL_BIND: u32 = 2;
/// `__X32_SYSCALL_BIT`.
#[cfg(target_arch = "x86_64")]
const X32: u32 = 0x4000_0000;

/// `landlock_restrict_self`, the same number everywhere.
pub const LANDLOCK_RESTRICT_SELF: i32 = 446;

/// What was given up for the filter, and what it can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Installed {
    /// `no_new_privs` had to be set: set-user-id programs below gain nothing.
    pub no_new_privs: bool,
    /// A call that was taken waits for its answer through every signal but a fatal one
    /// (`SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV`, Linux 5.19).
    pub waits_killable: bool,
}

/// The filter's instructions. Made before the fork: nothing may be allocated after it.
#[derive(Debug)]
pub struct Filter(Vec<sock_filter>);

impl Filter {
    /// For this machine.
    #[must_use]
    pub fn new() -> Self {
        let mut own = vec![load(NUMBER)];
        let numbers = [
            i32::try_from(libc::SYS_bind).unwrap_or(-1),
            i32::try_from(libc::SYS_listen).unwrap_or(-1),
            LANDLOCK_RESTRICT_SELF,
        ];
        for number in numbers {
            own.extend(notify_if(number.unsigned_abs()));
        }
        #[cfg(target_arch = "x86_64")]
        own.extend(notify_if(X32 | u32::try_from(libc::SYS_bind).unwrap_or(0)));
        own.push(allow());

        let mut narrow = vec![load(NUMBER)];
        narrow.extend(notify_if(NARROW_BIND));
        #[cfg(target_arch = "x86_64")]
        {
            narrow.extend([jump_unless(SOCKETCALL, 3), load(FIRST_ARGUMENT)]);
            narrow.extend(notify_if(SOCKETCALL_BIND));
        }
        narrow.push(allow());

        let mut program = vec![load(ARCH), jump_unless(NATIVE, length(&own))];
        program.append(&mut own);
        program.push(jump_unless(NARROW, length(&narrow)));
        program.append(&mut narrow);
        program.push(allow());
        Self(program)
    }

    /// Installs the filter in the calling thread, for good: `no_new_privs` is set only where
    /// the kernel asks for it. Gives the descriptor that the calls come from, which is closed
    /// by an exec. Async-signal-safe.
    pub fn install(&self) -> io::Result<(OwnedFd, Installed)> {
        let mut installed = Installed::default();
        loop {
            installed.waits_killable = true;
            let mut result = self.try_install(true);
            if is(&result, libc::EINVAL) {
                installed.waits_killable = false;
                result = self.try_install(false);
            }
            if is(&result, libc::EACCES) && !installed.no_new_privs {
                rustix::thread::set_no_new_privs(true)?;
                installed.no_new_privs = true;
                continue;
            }
            return result.map(|fd| (fd, installed));
        }
    }

    #[expect(unsafe_code, reason = "the system call has no safe wrapper")]
    fn try_install(&self, is_killable: bool) -> io::Result<OwnedFd> {
        let mut flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
        if is_killable {
            flags |= libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
        }
        let program = sock_fprog {
            len: u16::try_from(self.0.len()).unwrap_or(0),
            filter: self.0.as_ptr().cast_mut(),
        };
        // SAFETY: the program and its instructions live through the call, which reads them.
        let fd = unsafe {
            libc::syscall(
                libc::SYS_seccomp,
                libc::SECCOMP_SET_MODE_FILTER,
                flags,
                &raw const program,
            )
        };
        match i32::try_from(fd) {
            // SAFETY: the kernel has just made this descriptor for us.
            Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl Default for Filter {
    fn default() -> Self {
        Self::new()
    }
}

fn is(result: &io::Result<OwnedFd>, errno: i32) -> bool {
    matches!(result, Err(error) if error.raw_os_error() == Some(errno))
}

fn length(instructions: &[sock_filter]) -> u8 {
    u8::try_from(instructions.len()).unwrap_or(u8::MAX)
}

fn instruction(code: u32, jt: u8, jf: u8, k: u32) -> sock_filter {
    sock_filter {
        code: u16::try_from(code).unwrap_or(0),
        jt,
        jf,
        k,
    }
}

fn load(offset: u32) -> sock_filter {
    instruction(BPF_LD | BPF_W | BPF_ABS, 0, 0, offset)
}

fn jump_unless(value: u32, count: u8) -> sock_filter {
    instruction(BPF_JMP | BPF_JEQ | BPF_K, 0, count, value)
}

fn notify_if(value: u32) -> [sock_filter; 2] {
    [
        jump_unless(value, 1),
        instruction(BPF_RET | BPF_K, 0, 0, libc::SECCOMP_RET_USER_NOTIF),
    ]
}

fn allow() -> sock_filter {
    instruction(BPF_RET | BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the filter says, as the kernel runs it.
    fn run(arch: u32, number: u32, first: u32) -> u32 {
        let Filter(program) = Filter::new();
        let mut accumulator = 0;
        let mut at = 0;
        for _ in 0..program.len() {
            let sock_filter { code, jt, jf, k } = program[at];
            at += 1;
            match u32::from(code) & 7 {
                BPF_LD => {
                    accumulator = match k {
                        NUMBER => number,
                        ARCH => arch,
                        _ => first,
                    };
                }
                BPF_JMP => at += usize::from(if accumulator == k { jt } else { jf }),
                _ => return k,
            }
        }
        panic!("the program does not end");
    }

    #[test]
    fn binds_and_listens_are_put_before_us_and_nothing_else_is() {
        const NOTIFY: u32 = libc::SECCOMP_RET_USER_NOTIF;
        let native = |number: i64| run(NATIVE, u32::try_from(number).unwrap(), 2);

        for number in 0..600 {
            let is_ours = [libc::SYS_bind, libc::SYS_listen, 446].contains(&number);
            assert_eq!(native(number) == NOTIFY, is_ours, "{number}");
        }
        assert_eq!(run(NARROW, NARROW_BIND, 0), NOTIFY);
        assert_eq!(run(NARROW, 1, 2), libc::SECCOMP_RET_ALLOW);
        assert_eq!(run(1, NARROW_BIND, 2), libc::SECCOMP_RET_ALLOW);
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn calls_of_other_tables_are_seen_so_that_they_can_be_said() {
        const NOTIFY: u32 = libc::SECCOMP_RET_USER_NOTIF;

        assert_eq!(run(NARROW, SOCKETCALL, SOCKETCALL_BIND), NOTIFY);
        assert_eq!(run(NARROW, SOCKETCALL, 1), libc::SECCOMP_RET_ALLOW);
        assert_eq!(run(NATIVE, X32 + 49, 0), NOTIFY);
    }
}
