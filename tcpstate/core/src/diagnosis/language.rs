//! The line of code that sets a socket option, in the language that a process
//! seems to be written in.

use crate::event::Process;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Language {
    /// Also everything that was not recognised.
    C,
    Go,
    Java,
    Node,
    Perl,
    Php,
    Python,
    Ruby,
    Rust,
}

#[derive(Clone, Copy)]
pub(super) enum SocketOption {
    ReuseAddr,
    ReusePort,
    V6Only,
    BindAddressNoPort,
}

impl Language {
    /// From the names that a process goes by.
    pub(super) fn of(process: &Process) -> Self {
        let exe = process.exe.as_deref().unwrap_or_default();
        let argv0 = process
            .argv
            .as_deref()
            .and_then(|argv| argv.first())
            .map_or("", String::as_str);
        // Trees that these tools build into.
        if exe.contains("/go-build") {
            return Self::Go;
        }
        if exe.contains("/target/debug/") || exe.contains("/target/release/") {
            return Self::Rust;
        }
        [exe, argv0, &*process.comm]
            .into_iter()
            .find_map(Self::of_program)
            .or(match process.language.as_deref() {
                Some("go") => Some(Self::Go),
                Some("rust") => Some(Self::Rust),
                _ => None,
            })
            .unwrap_or(Self::C)
    }

    /// As in the JSON.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::C => "c",
            Self::Go => "go",
            Self::Java => "java",
            Self::Node => "node",
            Self::Perl => "perl",
            Self::Php => "php",
            Self::Python => "python",
            Self::Ruby => "ruby",
            Self::Rust => "rust",
        }
    }

    /// Whether programs run inside an interpreter or virtual machine, which a
    /// file capability would grant to every other program too.
    pub(super) fn is_interpreted(self) -> bool {
        !matches!(self, Self::C | Self::Go | Self::Rust)
    }

    /// The line that sets `option`.
    pub(super) fn line(self, option: SocketOption) -> &'static str {
        use SocketOption::{BindAddressNoPort, ReuseAddr, ReusePort, V6Only};
        match (self, option) {
            (Self::C, ReuseAddr) => {
                "int on = 1; setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);"
            }
            (Self::C, ReusePort) => {
                "int on = 1; setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);"
            }
            (Self::C, V6Only) => {
                "int on = 1; setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);"
            }
            (Self::C, BindAddressNoPort) => {
                "int on = 1; setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);"
            }
            (Self::Go, ReuseAddr) => {
                "unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1) // in net.ListenConfig.Control"
            }
            (Self::Go, ReusePort) => {
                "unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) // in net.ListenConfig.Control"
            }
            (Self::Go, V6Only) => "net.Listen(\"tcp6\", address)",
            (Self::Go, BindAddressNoPort) => {
                "unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1) // in net.Dialer.Control"
            }
            (Self::Java, ReuseAddr) => "serverSocket.setReuseAddress(true); // before bind",
            (Self::Java, ReusePort) => {
                "serverSocket.setOption(StandardSocketOptions.SO_REUSEPORT, true); // before bind"
            }
            (Self::Java, V6Only) => {
                "ServerSocketChannel.open(StandardProtocolFamily.INET) // for the IPv4 one; Java has no IPV6_V6ONLY"
            }
            (Self::Java, BindAddressNoPort) => {
                "new Socket(host, port); // without a local address; Java has no IP_BIND_ADDRESS_NO_PORT"
            }
            (Self::Node, ReuseAddr) => "server.listen(port) // sets SO_REUSEADDR by itself",
            (Self::Node, ReusePort) => {
                "server.listen({ port, reusePort: true }) // from Node.js 22.12 on"
            }
            (Self::Node, V6Only) => "server.listen({ port, host: '::', ipv6Only: true })",
            (Self::Node, BindAddressNoPort) => {
                "net.connect({ host, port }) // without localAddress; Node.js has no IP_BIND_ADDRESS_NO_PORT"
            }
            (Self::Perl, ReuseAddr) => "setsockopt($sock, SOL_SOCKET, SO_REUSEADDR, pack('l', 1));",
            (Self::Perl, ReusePort) => "setsockopt($sock, SOL_SOCKET, SO_REUSEPORT, pack('l', 1));",
            (Self::Perl, V6Only) => "setsockopt($sock, IPPROTO_IPV6, IPV6_V6ONLY, pack('l', 1));",
            (Self::Perl, BindAddressNoPort) => {
                "setsockopt($sock, IPPROTO_IP, 24, pack('l', 1)); # IP_BIND_ADDRESS_NO_PORT"
            }
            (Self::Php, ReuseAddr) => "socket_set_option($sock, SOL_SOCKET, SO_REUSEADDR, 1);",
            (Self::Php, ReusePort) => "socket_set_option($sock, SOL_SOCKET, SO_REUSEPORT, 1);",
            (Self::Php, V6Only) => "socket_set_option($sock, IPPROTO_IPV6, IPV6_V6ONLY, 1);",
            (Self::Php, BindAddressNoPort) => {
                "socket_set_option($sock, IPPROTO_IP, 24, 1); // IP_BIND_ADDRESS_NO_PORT"
            }
            (Self::Python, ReuseAddr) => {
                "sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)"
            }
            (Self::Python, ReusePort) => {
                "sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)"
            }
            (Self::Python, V6Only) => "sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)",
            (Self::Python, BindAddressNoPort) => {
                "sock.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT"
            }
            (Self::Ruby, ReuseAddr) => "sock.setsockopt(:SOCKET, :REUSEADDR, true)",
            (Self::Ruby, ReusePort) => "sock.setsockopt(:SOCKET, :REUSEPORT, true)",
            (Self::Ruby, V6Only) => "sock.setsockopt(:IPV6, :V6ONLY, true)",
            (Self::Ruby, BindAddressNoPort) => {
                "sock.setsockopt(:IP, 24, true) # IP_BIND_ADDRESS_NO_PORT"
            }
            (Self::Rust, ReuseAddr) => "socket.set_reuse_address(true)?; // socket2::Socket",
            (Self::Rust, ReusePort) => "socket.set_reuse_port(true)?; // socket2::Socket",
            (Self::Rust, BindAddressNoPort) => {
                "nix::sys::socket::setsockopt(&socket, sockopt::IpBindAddressNoPort, &true)?;"
            }
            (Self::Rust, V6Only) => "socket.set_only_v6(true)?; // socket2::Socket",
        }
    }

    /// Which of its usual ways to listen set `SO_REUSEADDR` on Linux unasked.
    pub(super) fn sets_reuseaddr_by_itself(self) -> &'static str {
        match self {
            Self::C => {
                "C and C++ do not set it unasked; Go's net.Listen, Node.js servers, Java's \
                 ServerSocket and Rust's std::net::TcpListener do"
            }
            Self::Go => "net.Listen sets it by itself; this socket was made in another way",
            Self::Java => {
                "ServerSocket and ServerSocketChannel set it by themselves unless told otherwise"
            }
            Self::Node => {
                "Node.js sets it on its servers by itself; this socket is not one of them"
            }
            Self::Perl => "IO::Socket::INET does it with ReuseAddr => 1",
            Self::Php => "stream_socket_server sets it by itself, socket_create does not",
            Self::Python => {
                "asyncio, http.server and socket.create_server set it by themselves, a plain \
                 socket and socketserver do not (allow_reuse_address = True)"
            }
            Self::Ruby => "TCPServer sets it by itself, a plain Socket does not",
            Self::Rust => {
                "std's and tokio's TcpListener::bind set it by themselves; this socket was made \
                 in another way"
            }
        }
    }

    fn of_program(path: &str) -> Option<Self> {
        let name = path.rsplit('/').next().unwrap_or_default();
        // `python3.11`, `php-fpm8.2`, `ruby3.1`
        let stem = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-');
        Some(match stem {
            "python" | "pypy" | "gunicorn" | "uvicorn" | "uwsgi" => Self::Python,
            "node" | "nodejs" => Self::Node,
            "java" => Self::Java,
            "ruby" | "puma" | "unicorn" => Self::Ruby,
            "php" | "php-fpm" | "php-cgi" => Self::Php,
            "perl" => Self::Perl,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::test_support::process;

    #[test]
    fn the_language_shows_in_the_names_of_a_process() {
        for (exe, comm, expected) in [
            ("/usr/bin/python3.11", "server", Language::Python),
            ("", "node", Language::Node),
            ("/usr/lib/jvm/21/bin/java", "http-8080", Language::Java),
            ("/tmp/go-build12/b001/exe/main", "main", Language::Go),
            ("/src/app/target/debug/app", "app", Language::Rust),
            ("/usr/sbin/php-fpm8.2", "php-fpm", Language::Php),
            ("/usr/sbin/nginx", "nginx", Language::C),
            ("/usr/bin/caddy", "caddy", Language::C),
        ] {
            let mut process = process(1, comm);
            process.exe = (!exe.is_empty()).then(|| exe.into());
            assert_eq!(Language::of(&process), expected, "{exe} {comm}");
        }
        let mut caddy = process(1, "caddy");
        caddy.language = Some("go".into());
        assert_eq!(Language::of(&caddy), Language::Go);
    }
}
