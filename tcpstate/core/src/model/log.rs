//! The latest events, in order: what writers and the event stream read.

use std::collections::VecDeque;

use crate::event::Event;

/// Bytes that the kept events may take besides themselves. A server that tries to
/// bind again and again beside many sockets fills them.
const MAX_WEIGHT: usize = 64 << 20;
/// So many are kept whatever they weigh: readers must keep up with these.
const MIN_EVENTS: usize = 1 << 11;

/// The latest events. Sequence numbers are gapless, so a position is found
/// without a search.
#[derive(Clone, Debug)]
pub struct EventLog {
    events: VecDeque<Event>,
    limit: usize,
    weight: usize,
}

impl EventLog {
    /// An empty log that keeps at most `limit` events, and fewer if they are heavy.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            events: VecDeque::new(),
            limit: limit.max(1),
            weight: 0,
        }
    }

    /// Appends an event; the oldest go where there is no room.
    pub fn push(&mut self, event: Event) {
        self.weight += event.body.weight();
        while self.events.len() >= self.limit
            || (self.weight > MAX_WEIGHT && self.events.len() > MIN_EVENTS)
        {
            let Some(oldest) = self.events.pop_front() else {
                break;
            };
            self.weight -= oldest.body.weight();
        }
        self.events.push_back(event);
    }

    /// Bytes that the kept events take besides themselves, about.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.weight
    }

    /// The event with this position, if it is still kept.
    #[must_use]
    pub fn get(&self, seq: u64) -> Option<&Event> {
        let first = self.events.front()?.seq;
        self.events
            .get(usize::try_from(seq.checked_sub(first)?).ok()?)
    }

    /// Events that are kept, from this position on.
    #[must_use]
    pub fn since(&self, seq: u64) -> impl DoubleEndedIterator<Item = &Event> + ExactSizeIterator {
        let first = self.events.front().map_or(0, |event| event.seq);
        let skip = usize::try_from(seq.saturating_sub(first)).unwrap_or(usize::MAX);
        self.events.range(skip.min(self.events.len())..)
    }

    /// All kept events, oldest first.
    #[must_use]
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Event> + ExactSizeIterator {
        self.events.iter()
    }

    /// Number of kept events.
    #[must_use]
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether none is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(seq: u64, text: &str) -> Event {
        let reset = json!({
            "event": "tcp.reset",
            "direction": "sent",
            "local": { "addr": "127.0.0.1", "port": 1 },
            "peer": { "addr": "127.0.0.1", "port": 2 },
            "reason": text,
        });
        Event {
            seq,
            mono_ns: seq,
            body: serde_json::from_value(reset).unwrap(),
        }
    }

    #[test]
    fn light_events_are_kept_by_number_and_heavy_ones_by_weight() {
        let heavy = "x".repeat(MAX_WEIGHT / MIN_EVENTS / 2);
        let mut log = EventLog::new(4 * MIN_EVENTS);
        for seq in 0..9 * MIN_EVENTS as u64 {
            log.push(event(seq, &heavy));
            assert!(log.weight() <= MAX_WEIGHT);
        }
        assert!((MIN_EVENTS..3 * MIN_EVENTS).contains(&log.len()));
        assert_eq!(log.iter().last().unwrap().seq, 9 * MIN_EVENTS as u64 - 1);

        for seq in 9 * MIN_EVENTS as u64..20 * MIN_EVENTS as u64 {
            log.push(event(seq, "light"));
        }
        assert_eq!(
            (log.len(), log.weight()),
            (4 * MIN_EVENTS, 5 * 4 * MIN_EVENTS)
        );
    }

    #[test]
    fn readers_have_their_time_however_heavy_events_are() {
        let heavy = "x".repeat(2 * MAX_WEIGHT / MIN_EVENTS);
        let mut log = EventLog::new(4 * MIN_EVENTS);
        for seq in 0..2 * MIN_EVENTS as u64 {
            log.push(event(seq, &heavy));
        }

        assert_eq!(log.len(), MIN_EVENTS + 1);
    }
}
