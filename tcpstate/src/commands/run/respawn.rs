//! When a program that has ended by itself is started again.

use std::time::Duration;

/// After the second end in a row that came too soon.
const FIRST: Duration = Duration::from_millis(100);
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(10);
/// Who has run for so long is started again at once.
const SETTLED: Duration = Duration::from_secs(10);
/// So many ends in a row that came too soon are a crash loop.
const LOOP: u32 = 5;

/// The ends in a row that came too soon.
#[derive(Debug, Default)]
pub(super) struct Respawn {
    in_a_row: u32,
}

/// What follows from an end.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Next {
    /// The pause before the next start.
    pub(super) pause: Duration,
    /// It has become a crash loop: so many ends in a row.
    pub(super) crash_loop: Option<u32>,
}

impl Respawn {
    /// The program has ended after it ran for so long.
    pub(super) fn after(&mut self, ran: Duration) -> Next {
        if ran >= SETTLED {
            self.in_a_row = 0;
            return Next {
                pause: Duration::ZERO,
                crash_loop: None,
            };
        }
        self.in_a_row = self.in_a_row.saturating_add(1);
        let pause = match self.in_a_row.checked_sub(2) {
            // One end alone is no reason to wait.
            None => Duration::ZERO,
            Some(times) => FIRST.saturating_mul(1_u32.checked_shl(times).unwrap_or(u32::MAX)),
        };
        Next {
            pause: pause.min(LONGEST),
            // Said again now and then, as the loop goes on.
            crash_loop: (self.in_a_row.is_multiple_of(LOOP)).then_some(self.in_a_row),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_until_a_start_holds() {
        let mut respawn = Respawn::default();
        let ends: Vec<Next> = (0..40).map(|_| respawn.after(Duration::ZERO)).collect();

        assert_eq!(ends[0].pause, Duration::ZERO);
        assert_eq!(ends[1].pause, FIRST);
        assert_eq!(ends[2].pause, FIRST * 2);
        assert_eq!(ends[39].pause, LONGEST);
        assert_eq!(ends[3].crash_loop, None);
        assert_eq!(ends[4].crash_loop, Some(5));
        assert_eq!(respawn.after(SETTLED).pause, Duration::ZERO);
        assert_eq!(respawn.after(Duration::ZERO).pause, Duration::ZERO);
    }
}
