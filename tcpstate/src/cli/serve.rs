//! `serve`.

use std::time::Duration;

use clap::Args;

use super::parse::parse_port;
use crate::serve::http::Address;

/// Arguments of `serve`.
#[derive(Clone, Debug, Args)]
pub struct ServeArgs {
    /// Where the page of metrics is: an address and port, or `unix:/PATH`.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9101")]
    pub listen: Address,
    /// A port that has series of its own from the beginning; others get them when somebody
    /// listens there, as far as there is room. May be repeated.
    #[arg(short, long = "port", value_name = "PORT", value_parser = parse_port, value_delimiter = ',')]
    pub ports: Vec<u16>,
    /// Which network namespace: a name (`ip netns`), a path, an inode number,
    /// `self`, or `all`.
    #[arg(long, value_name = "NETNS", default_value = "all")]
    pub netns: String,
    /// End after this time (`500ms`, `30s`, `2m`).
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub duration: Option<Duration>,
}
