//! stub until merge
use crate::event::{Call, Cause, Certainty, Diagnosis, Process, WouldWork, YesNo};
use crate::model::Origin;
use std::sync::Arc;
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallKind {
    Bind,
    Listen,
    Connect,
}
pub struct KnownHolder {
    pub owner: Option<Arc<Process>>,
    pub left_by: Option<Arc<Process>>,
    pub origin: Origin,
    pub evidence: Vec<u64>,
}
pub struct Environment {
    pub local_port_range: Option<[u16; 2]>,
}
pub struct PastListener {
    pub process: Option<Arc<Process>>,
    pub closed_ms_ago: u64,
    pub seq: u64,
}
pub struct Failure<'a> {
    pub seq: u64,
    pub kind: CallKind,
    pub call: &'a Call,
    pub known: &'a [KnownHolder],
    pub environment: &'a Environment,
    pub past_listener: Option<&'a PastListener>,
    pub missing: &'a [String],
}
pub fn diagnose(f: &Failure<'_>) -> Diagnosis {
    Diagnosis {
        of: f.seq,
        cause: Cause::Unknown,
        summary: String::new(),
        holders: vec![],
        clears_ms: None,
        would_work: WouldWork {
            reuseaddr: YesNo::Unknown,
            reuseport: YesNo::Unknown,
            v6only: YesNo::Unknown,
        },
        fixes: vec![],
        certainty: Certainty::Unknown,
        missing: f.missing.to_vec(),
    }
}
