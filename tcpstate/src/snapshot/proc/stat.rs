//! `/proc/PID/stat`: the fields that are ours. Pure.

use std::sync::Arc;

/// `PF_KTHREAD`: no process sets it on itself.
const PF_KTHREAD: u32 = 0x0020_0000;

/// A line of `/proc/PID/stat`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// The name that the process gave itself.
    pub comm: Arc<str>,
    /// State, one letter: `R`, `S`, `T` …
    pub state: char,
    /// Parent's process id; 0: it has none that we see.
    pub ppid: u32,
    /// Its job: the process that it was begun with.
    pub group: u32,
    /// Its session: the process that began it.
    pub session: u32,
    /// When it started, in clock ticks since the boot.
    pub start_ticks: u64,
    /// Device number of its controlling terminal; 0: it has none.
    pub terminal: u32,
    flags: u32,
}

/// Fields behind the name, the first of which is the third of the line.
const PPID: usize = 4 - 3;
const GROUP: usize = 5 - 3;
const SESSION: usize = 6 - 3;
const TERMINAL: usize = 7 - 3;
const FLAGS: usize = 9 - 3;
const START: usize = 22 - 3;

impl Stat {
    /// Reads the line. The name stands there as it is, unlike in `status`, and may be
    /// anything, so it ends where the last parenthesis is.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let begin = bytes.iter().position(|byte| *byte == b'(')? + 1;
        let end = bytes.iter().rposition(|byte| *byte == b')')?;
        let comm = String::from_utf8_lossy(bytes.get(begin..end)?);
        let rest = std::str::from_utf8(bytes.get(end + 1..)?).ok()?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        // 0 or less: somebody whom we do not see.
        let number = |at: usize| {
            let number = fields.get(at)?.parse::<i32>().ok()?;
            Some(u32::try_from(number).unwrap_or(0))
        };
        Some(Self {
            comm: comm.into(),
            state: fields.first()?.chars().next()?,
            ppid: number(PPID)?,
            group: number(GROUP)?,
            session: number(SESSION)?,
            start_ticks: fields.get(START)?.parse().ok()?,
            // Signed in the line, whatever its bits are.
            terminal: fields.get(TERMINAL)?.parse::<i32>().ok()?.cast_unsigned(),
            flags: fields.get(FLAGS)?.parse().ok()?,
        })
    }

    /// Whether the kernel runs it on its own account.
    #[must_use]
    pub fn is_kernel_thread(&self) -> bool {
        self.flags & PF_KTHREAD != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KTHREADD: &[u8] = b"2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 0 0 0 20 0 1 0 7 0 0 \
        18446744073709551615 0 0\n";

    #[test]
    fn the_kernels_own_thread_is_known_by_its_flags() {
        let stat = Stat::parse(KTHREADD).unwrap();

        assert_eq!(
            (&*stat.comm, stat.ppid, stat.start_ticks),
            ("kthreadd", 0, 7)
        );
        assert!(stat.is_kernel_thread());
        let own = std::fs::read("/proc/self/stat").unwrap();
        assert!(!Stat::parse(&own).unwrap().is_kernel_thread());
    }

    #[test]
    fn a_name_with_parentheses_and_spaces_moves_no_field() {
        let line = b"7 (a) R 1 (\\n\n) S 3 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 900 1 1 1\n";

        let stat = Stat::parse(line).unwrap();

        assert_eq!(&*stat.comm, "a) R 1 (\\n\n");
        assert_eq!((stat.ppid, stat.start_ticks), (3, 900));
        assert!(!stat.is_kernel_thread());
    }

    #[test]
    fn a_line_that_is_cut_says_nothing() {
        let ends = KTHREADD
            .windows(4)
            .position(|bytes| bytes == b" 7 0")
            .unwrap();
        for cut in 0..=ends {
            assert_eq!(Stat::parse(&KTHREADD[..cut]), None, "{cut}");
        }
        assert_eq!(Stat::parse(b")("), None);
    }
}
