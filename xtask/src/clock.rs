//! The clock, which only this reads.

use std::time::Instant;

#[expect(clippy::disallowed_methods, reason = "says what something took")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
