//! `bind`, `listen`, `connect` and `accept`.

use std::fmt::Write as _;
use std::net::SocketAddr;

use super::words::push_process;
use super::{Context, Describe, EventRow, Meaning, View};
use crate::event::{Call, Endpoint};
use crate::printable::printable;

impl Describe for Call {
    fn text(&self, name: &'static str, _: &Context<'_>) -> Option<String> {
        let asked = match self.requested.addr {
            Some(addr) => Endpoint {
                addr,
                port: self.requested.port,
            }
            .to_string(),
            None => format!(":{}", self.requested.port),
        };
        let mut text = format!("{name:12} {asked}");
        match (&self.errno_name, self.errno) {
            _ if self.ok => text.push_str("  ok"),
            (Some(errno), _) => {
                let _ = write!(text, "  FAILED {}", printable(errno));
            }
            (None, Some(errno)) => {
                let _ = write!(text, "  FAILED errno {errno}");
            }
            (None, None) => text.push_str("  FAILED"),
        }
        if self.errno_inferred {
            text.push_str(" (inferred)");
        }
        match (self.is_sum, self.repeated) {
            (false, 0) => {}
            (false, more) => {
                let _ = write!(text, ", and {more} times more since the last one told");
            }
            (true, more) => {
                let _ = write!(text, ", {} times more since the last one told", more + 1);
            }
        }
        push_process(&mut text, Some(&self.process));
        Some(text)
    }

    fn row(&self, name: &'static str, view: &View) -> EventRow {
        let requested = match self.requested.addr {
            Some(addr) => SocketAddr::new(addr, self.requested.port).to_string(),
            None => format!(":{}", self.requested.port),
        };
        let addresses = match (name, self.local, self.peer) {
            ("accept", _, Some(peer)) => peer.to_string(),
            // Where the kernel chose the port, the choice is what is new.
            ("bind", Some(local), _) if self.ok => local.to_string(),
            _ => requested,
        };
        if self.ok {
            return EventRow::plain(
                name,
                Meaning::Good,
                format!("{addresses}, {}", self.process),
            );
        }
        let errno = match (&self.errno_name, self.errno) {
            (Some(name), _) => name.to_string(),
            (None, Some(errno)) => format!("errno {errno}"),
            (None, None) => "error not known".to_owned(),
        };
        let errno = if self.errno_inferred {
            errno + " (inferred)"
        } else {
            errno
        };
        let times = match self.failures() {
            1 => String::new(),
            count => format!(" {count}×"),
        };
        let text = match self.foreign_netns(view.own_netns) {
            Some(netns) => format!(
                "{addresses} failed{times}: {errno}, {}, in {netns}",
                self.process
            ),
            None => format!("{addresses} failed{times}: {errno}, {}", self.process),
        };
        EventRow::emphasized(name, Meaning::Bad, text)
    }
}
