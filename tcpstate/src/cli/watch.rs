//! `watch`.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use clap::Args;

use super::OutputArgs;
use super::parse::{parse_ports, parse_size, parse_state};
use crate::event::State;

/// Arguments of `watch`.
#[derive(Clone, Debug, Args)]
pub struct WatchArgs {
    /// Only sockets with this local or peer port; a range `8000-8010` works,
    /// and the option may be repeated.
    #[arg(short, long = "port", value_name = "PORT", value_parser = parse_ports, value_delimiter = ',')]
    pub ports: Vec<RangeInclusive<u16>>,
    /// Only sockets and calls of this process; may be repeated.
    #[arg(long = "pid", value_name = "PID", value_parser = clap::value_parser!(u32).range(1..))]
    pub pids: Vec<u32>,
    /// Only sockets and calls of processes with this name; may be repeated.
    #[arg(long = "comm", value_name = "NAME")]
    pub comms: Vec<String>,
    /// Only changes from or to this state (`time_wait`, `listen`, …); may be repeated.
    #[arg(long = "state", value_name = "STATE", value_parser = parse_state, value_delimiter = ',')]
    pub states: Vec<State>,
    /// Only sockets with this local or peer address; may be repeated.
    #[arg(long = "addr", value_name = "ADDR")]
    pub addrs: Vec<IpAddr>,
    /// Which network namespace: a name (`ip netns`), a path, an inode number,
    /// `self`, or `all`.
    #[arg(long, value_name = "NETNS", default_value = "all")]
    pub netns: String,
    /// Also write the events, as JSON lines, to this file; compressed if its
    /// name ends in `.zst`. The file is made new, or is yours already and nobody
    /// else can write to it; a pipe or device is refused.
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// Go on in the next file (FILE.2, FILE.3, …) after this size (`100MB`).
    #[arg(long, value_name = "SIZE", requires = "record", value_parser = parse_size)]
    pub rotate_size: Option<ByteSize>,
    /// Go on in the next file after this time (`1h`).
    #[arg(long, value_name = "DURATION", requires = "record", value_parser = humantime::parse_duration)]
    pub rotate_age: Option<Duration>,
    /// Keep this many files of the recording, and delete the oldest.
    #[arg(long, value_name = "COUNT", requires = "record", value_parser = clap::value_parser!(u32).range(1..))]
    pub rotate_keep: Option<u32>,
    /// End after this time (`500ms`, `30s`, `2m`).
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub duration: Option<Duration>,
    /// Free no port from the dashboard: start nothing that could (`read_only` in its
    /// configuration does the same).
    #[arg(long)]
    pub read_only: bool,
    /// Also report connects that succeed.
    #[arg(long)]
    pub connects: bool,
    /// How it is shown.
    #[command(flatten)]
    pub output: OutputArgs,
}
