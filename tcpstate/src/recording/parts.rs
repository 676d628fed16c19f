//! A recording in several files: when the next one begins, and what it is
//! called.
//!
//! The first part has the name that was asked for, the next ones a number
//! before the extension: `outage.jsonl`, `outage.2.jsonl`, … Every part begins
//! with the header; positions go on from part to part, so that the parts, one
//! after the other, are the recording.

use std::path::{Path, PathBuf};

use serde_json::Value;

/// When the next part begins, and how many are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rotation {
    /// Begin the next part after this many bytes.
    pub size: Option<u64>,
    /// Begin the next part after this many nanoseconds.
    pub age_ns: Option<u64>,
    /// Keep this many parts, the current one included; absent: all.
    pub keep: Option<u32>,
}

impl Rotation {
    pub(super) fn is_due(&self, size: u64, age_ns: u64) -> bool {
        self.size.is_some_and(|limit| size >= limit)
            || self.age_ns.is_some_and(|limit| age_ns >= limit)
    }

    /// The part that is too many once `part` has begun.
    pub(super) fn superseded(&self, first: &Path, part: u32) -> Option<PathBuf> {
        let number = part.checked_sub(self.keep?.max(1))?;
        (number > 0).then(|| path(first, number))
    }
}

/// Name of a part; of the first one, the name that was asked for.
#[must_use]
pub fn path(first: &Path, part: u32) -> PathBuf {
    if part <= 1 {
        return first.to_owned();
    }
    let name = first
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    // The extension is that of the format, with that of the compression.
    let uncompressed = name.strip_suffix(".zst").unwrap_or(&name);
    let stem_len = uncompressed.rfind('.').unwrap_or(uncompressed.len());
    let (stem, extension) = name.split_at(stem_len);
    first.with_file_name(format!("{stem}.{part}{extension}"))
}

/// The header of a later part. One that cannot be read back stays as it is.
pub(super) fn header(first: &[u8], part: u32, seq: u64) -> Vec<u8> {
    let Ok(Value::Object(mut header)) = serde_json::from_slice(first) else {
        return first.to_owned();
    };
    header.insert("seq".to_owned(), seq.into());
    header.insert("part".to_owned(), part.into());
    let mut line = Value::Object(header).to_string().into_bytes();
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_numbered_before_the_extension() {
        let name = |first: &str, part| path(Path::new(first), part).display().to_string();

        assert_eq!(name("a/outage.jsonl", 1), "a/outage.jsonl");
        assert_eq!(name("a/outage.jsonl", 2), "a/outage.2.jsonl");
        assert_eq!(name("outage.jsonl.zst", 12), "outage.12.jsonl.zst");
        assert_eq!(name("outage", 3), "outage.3");
        assert_eq!(name("outage.zst", 3), "outage.3.zst");
    }

    #[test]
    fn as_many_parts_as_asked_for_are_kept() {
        let rotation = Rotation {
            keep: Some(2),
            ..Rotation::default()
        };
        let gone = |part| rotation.superseded(Path::new("o.jsonl"), part);

        assert_eq!(gone(2), None);
        assert_eq!(gone(3), Some(PathBuf::from("o.jsonl")));
        assert_eq!(gone(4), Some(PathBuf::from("o.2.jsonl")));
        assert_eq!(
            Rotation::default().superseded(Path::new("o.jsonl"), 9),
            None
        );
    }

    #[test]
    fn a_part_is_over_by_size_or_by_age() {
        let rotation = Rotation {
            size: Some(100),
            age_ns: Some(10),
            keep: None,
        };
        assert!(!rotation.is_due(99, 9));
        assert!(rotation.is_due(100, 0));
        assert!(rotation.is_due(0, 10));
        assert!(!Rotation::default().is_due(u64::MAX, u64::MAX));
    }
}
