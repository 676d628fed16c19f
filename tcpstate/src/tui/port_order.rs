//! Which ports have a line of their own, in which order: the failing first.

use super::view::View;
use crate::model::{Phase, PortKey, PortStory};

/// The ports to tell of, the failing first.
pub(crate) fn port_order(view: &View<'_>) -> Vec<PortKey> {
    let watched = view
        .header
        .map_or(&[][..], |header| header.filters.ports.as_slice());
    let is_watched = |port: u16| {
        watched.is_empty()
            || watched
                .iter()
                .any(|[first, last]| (*first..=*last).contains(&port))
    };
    let mut order: Vec<(u8, PortKey)> = view
        .ports
        .iter()
        .filter(|(key, story)| is_watched(key.port) && has_something_to_tell(story))
        .map(|(key, story)| (rank(story), *key))
        .collect();
    order.sort_unstable();
    order.into_iter().map(|(_, key)| key).collect()
}

/// A port that was only bound, as every outgoing connection's is, has no story.
fn has_something_to_tell(story: &PortStory) -> bool {
    story.phase != Phase::NeverListened || story.failed_total > 0
}

fn rank(story: &PortStory) -> u8 {
    match &story.phase {
        Phase::Down { .. } if story.failed_since_down > 0 => 0,
        Phase::NeverListened => 1,
        Phase::Listening { since_ns, .. }
            if story.last_failure.is_some_and(|(_, at)| at > *since_ns) =>
        {
            2
        }
        Phase::Down { .. } => 3,
        Phase::Listening { .. } => 4,
    }
}
