//! Reports failed calls that the kernel program counted once they have come to rest.

use super::completion::name_namespace;
use crate::event::{Body, Loss, LossStage};
use crate::kernel::{KernelError, Observer};
use crate::model::NS_PER_MS;
use crate::pace::Pace;

/// How often the counts are read.
const EVERY_NS: u64 = 1_000 * NS_PER_MS;

/// When they are read next.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    pace: Pace,
}

impl Counted {
    /// Calls that were counted and that no later one has carried; to be asked only when
    /// no record of one waits.
    pub(crate) fn step(&mut self, observer: &mut Observer, now_ns: u64) -> Vec<Body> {
        if self.pace.take(now_ns, EVERY_NS) {
            take(observer, now_ns, false)
        } else {
            Vec::new()
        }
    }
}

/// All of them, at the end of the run.
pub(crate) fn all(observer: &mut Observer, now_ns: u64) -> Vec<Body> {
    take(observer, now_ns, true)
}

fn take(observer: &mut Observer, now_ns: u64, is_end: bool) -> Vec<Body> {
    let mut counted = Vec::new();
    observer.take_counted(now_ns, is_end, &mut counted);
    for body in &mut counted {
        if let Body::Bind(call) | Body::Listen(call) | Body::Connect(call) = body {
            name_namespace(call);
        }
    }
    counted
}

/// What there was no time to take in at the end.
pub(crate) fn left(observer: &Observer) -> Result<Option<Body>, KernelError> {
    let count = observer.left()?;
    let loss = Loss {
        stage: LossStage::User,
        count,
        resynced: false,
    };
    Ok((count > 0).then_some(Body::Loss(loss)))
}
