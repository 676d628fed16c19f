//! Which port, and the socket that would bind it: what several commands ask about.

use clap::Args;

use super::parse::parse_port;

/// Which port, and the socket that would bind it.
#[derive(Clone, Debug, Args)]
pub struct PortArgs {
    /// The port.
    #[arg(value_parser = parse_port)]
    pub port: u16,
    /// The socket.
    #[command(flatten)]
    pub socket: SocketArgs,
    /// Also bind for real, and give the port back at once. For that instant the
    /// port is taken; nothing listens on it.
    #[arg(long = "try")]
    pub is_tried: bool,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// The socket that would bind a port.
#[derive(Clone, Debug, Args)]
pub struct SocketArgs {
    /// The address; by default every address.
    #[arg(long, value_name = "ADDR")]
    pub addr: Option<String>,
    /// The socket sets SO_REUSEADDR.
    #[arg(long = "reuseaddr")]
    pub is_reuseaddr: bool,
    /// The socket sets SO_REUSEPORT.
    #[arg(long = "reuseport")]
    pub is_reuseport: bool,
    /// It is an IPv6 socket.
    #[arg(long = "ipv6")]
    pub is_ipv6: bool,
    /// The socket sets IPV6_V6ONLY.
    #[arg(long = "v6only")]
    pub is_v6only: bool,
    /// The socket is bound to this interface (SO_BINDTODEVICE).
    #[arg(long, value_name = "INTERFACE")]
    pub device: Option<String>,
    /// The user that the socket belongs to; by default you.
    #[arg(long, value_name = "UID")]
    pub uid: Option<u32>,
    /// Which network namespace: a name (`ip netns`), a path, an inode number,
    /// or `self`.
    #[arg(long, value_name = "NETNS", default_value = "self")]
    pub netns: String,
}
