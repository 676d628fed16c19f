//! Metrics as they are given to whoever writes them.

use super::Histogram;

/// Series of one name.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// Without the ending `_total` that a counter has in Prometheus' text.
    pub name: &'static str,
    /// What it is, in one sentence without a full stop.
    pub help: &'static str,
    /// What its values are.
    pub kind: Kind,
    /// Its series.
    pub samples: Vec<Sample>,
}

/// What the values of a family are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// How often a value fell into which bucket.
    Histogram,
}

/// A label's name and value.
pub type Label = (&'static str, String);

/// One series.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// What tells it from the others of the family.
    pub labels: Vec<Label>,
    /// Its value.
    pub value: Value,
}

/// The value of a series.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Of a counter.
    Counter(u64),
    /// Of a gauge.
    Gauge(u64),
    /// Of a histogram.
    Histogram(Box<Histogram>),
}
