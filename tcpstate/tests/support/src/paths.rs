//! How connections end: for each way the path that both sides take and what
//! follows from it. The recordings in `traces/` are held against it, and so is
//! what the kernel does now.

use serde_json::Value;

/// A way to end, and what it looks like. The server has port 8080.
pub struct Path {
    /// File name of its recording, without the ending.
    pub name: &'static str,
    /// States of the server's socket after `syn_received`.
    pub server: &'static [&'static str],
    /// States of the client's socket after `syn_sent`.
    pub client: &'static [&'static str],
    /// What else was seen, in alphabetical order.
    pub besides: &'static [&'static str],
}

const ACTIVE: &[&str] = &["established", "fin_wait_1", "fin_wait_2", "closed"];
const PASSIVE: &[&str] = &["established", "close_wait", "last_ack", "closed"];
const CUT: &[&str] = &["established", "closed"];
const RESET: &[&str] = &["reset received by client", "reset sent by server"];

/// All ways that are known.
pub const PATHS: &[Path] = &[
    Path {
        name: "server_closes_first",
        server: ACTIVE,
        client: PASSIVE,
        besides: &["server enters time_wait from fin_wait_2"],
    },
    Path {
        name: "client_closes_first",
        server: PASSIVE,
        client: ACTIVE,
        besides: &["client enters time_wait from fin_wait_2"],
    },
    Path {
        name: "half_close",
        server: ACTIVE,
        client: PASSIVE,
        besides: &["server enters time_wait from fin_wait_2"],
    },
    Path {
        name: "orphan_without_fin",
        server: ACTIVE,
        client: &["established", "close_wait"],
        besides: &["server is an orphan in fin_wait_2"],
    },
    Path {
        name: "reset_by_linger_0",
        server: CUT,
        client: CUT,
        besides: RESET,
    },
    Path {
        name: "reset_by_unread_data",
        server: CUT,
        client: CUT,
        besides: RESET,
    },
    Path {
        name: "listener_closed_with_child",
        server: CUT,
        client: CUT,
        besides: RESET,
    },
    Path {
        name: "refused",
        server: &[],
        client: &["closed"],
        besides: &[
            "connect failed with ECONNREFUSED",
            "reset received by client",
            "reset sent by server",
        ],
    },
    Path {
        name: "no_linger2",
        // The kernel announces the close of a socket in FIN_WAIT_2, too.
        server: &[
            "established",
            "fin_wait_1",
            "fin_wait_2",
            "fin_wait_2",
            "closed",
        ],
        client: &["established", "close_wait", "closed"],
        besides: RESET,
    },
    Path {
        // Both FINs wait behind data; the server reads first, and gets the
        // client's before its own has left.
        name: "simultaneous_close",
        server: &["established", "fin_wait_1", "closing", "closed"],
        client: ACTIVE,
        besides: &[
            "client enters time_wait from fin_wait_2",
            "server enters time_wait from closing",
        ],
    },
    Path {
        name: "keepalive_death",
        server: CUT,
        client: &["established"],
        besides: &["reset sent by server"],
    },
    Path {
        name: "destroyed_time_wait",
        server: ACTIVE,
        client: PASSIVE,
        besides: &[
            "server enters time_wait from fin_wait_2",
            "server leaves time_wait: destroyed",
        ],
    },
];

/// What a recording shows, in the form of a [`Path`].
#[derive(Debug, PartialEq)]
pub struct Shown {
    /// States of the server's socket.
    pub server: Vec<String>,
    /// States of the client's socket.
    pub client: Vec<String>,
    /// What else was seen.
    pub besides: Vec<String>,
}

impl Path {
    /// The path in the form of what was seen.
    pub fn as_shown(&self) -> Shown {
        let owned = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect();
        Shown {
            server: owned(self.server),
            client: owned(self.client),
            besides: owned(self.besides),
        }
    }
}

/// Reads it off the events.
pub fn shown(events: &[Value]) -> Shown {
    let mut shown = Shown {
        server: Vec::new(),
        client: Vec::new(),
        besides: Vec::new(),
    };
    for event in events {
        let is_server = event["local"]["port"] == 8080;
        let side = if is_server { "server" } else { "client" };
        let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
        match event["event"].as_str() {
            Some("tcp.state") => {
                let is_listener = event["peer"]["port"] == 0;
                let new = text(&event["new"]);
                if is_listener || new == "syn_sent" {
                    continue;
                }
                if event["mini"]["state"] == "fin_wait_2" {
                    shown
                        .besides
                        .push(format!("{side} is an orphan in fin_wait_2"));
                }
                let path = if is_server {
                    &mut shown.server
                } else {
                    &mut shown.client
                };
                path.push(new);
            }
            Some("tcp.time_wait.enter") => shown.besides.push(format!(
                "{side} enters time_wait from {}",
                text(&event["from"])
            )),
            Some("tcp.time_wait.exit") => shown.besides.push(format!(
                "{side} leaves time_wait: {}",
                text(&event["reason"])
            )),
            Some("tcp.reset") => shown
                .besides
                .push(format!("reset {} by {side}", text(&event["direction"]))),
            Some("connect") if event["ok"] == false => shown.besides.push(format!(
                "connect failed with {}",
                text(&event["errno_name"])
            )),
            _ => {}
        }
    }
    // An orphan that gets its FIN within the same moment is no path of its own.
    if shown.besides.iter().any(|line| line.contains("enters")) {
        shown.besides.retain(|line| !line.contains("orphan"));
    }
    shown.besides.sort();
    shown
}
