//! Failed calls that were counted with nothing but their user.

use std::collections::BTreeMap;

use super::super::{FloodCount, trim};
use crate::event::Flood;

/// Users whose floods a report lists; the others' are added to the last one's.
const MAX_FLOODS: usize = 64;

/// Failed calls that were counted with nothing but their user.
#[derive(Debug, Default)]
pub(super) struct Floods(BTreeMap<(u32, &'static str), FloodCount>);

impl Floods {
    pub(super) fn note(&mut self, flood: &Flood) {
        let key = (flood.uid, flood.call.name());
        let is_full = self.0.len() >= MAX_FLOODS && !self.0.contains_key(&key);
        if is_full {
            if let Some(mut last) = self.0.last_entry() {
                let counted = last.get_mut();
                counted.count = counted.count.saturating_add(flood.count);
            }
            return;
        }
        let counted = self.0.entry(key).or_insert_with(|| FloodCount {
            call: flood.call.name().to_owned(),
            uid: flood.uid,
            comm: String::new(),
            count: 0,
        });
        counted.comm = trim::text(&flood.comm, trim::MAX_WORD);
        counted.count = counted.count.saturating_add(flood.count);
    }

    pub(super) fn finish(self) -> Vec<FloodCount> {
        let mut floods: Vec<FloodCount> = self.0.into_values().collect();
        floods.sort_by_key(|flood| std::cmp::Reverse(flood.count));
        floods
    }
}
