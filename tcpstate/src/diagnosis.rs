//! Why a call failed.
pub mod conflict;
