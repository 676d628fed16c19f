//! What the dashboard shows, and what the keys have chosen of it.

pub(crate) mod advice;
pub mod columns;
pub(crate) mod cursor;
pub(crate) mod event_list;
pub mod filter;
pub(crate) mod forecast;
pub(crate) mod messages;
pub(crate) mod port_order;
pub(crate) mod problems;
pub mod replay;
pub(crate) mod rows;
pub(crate) mod view;
