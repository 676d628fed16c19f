//! The lines of code do what they say, in the languages that are here.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use super::{fix, leave_time_wait};
use support::{Program, Watch, at, listener, on_stage, socket};

/// A program with a place for the line, and how it is run.
struct Language {
    name: &'static str,
    /// Without it the language is left out.
    needs: &'static str,
    file: &'static str,
    source: &'static str,
    run: &'static str,
}

const LINE: &str = "/*LINE*/";

/// Each binds 127.0.0.1:8080 or, where it is told to, [::]:8080.
const LANGUAGES: [Language; 5] = [
    Language {
        name: "python",
        needs: "python3",
        file: "server.py",
        source: "import socket, sys\n\
                 ipv6 = len(sys.argv) > 1\n\
                 sock = socket.socket(socket.AF_INET6 if ipv6 else socket.AF_INET)\n\
                 /*LINE*/\n\
                 sock.bind(('::' if ipv6 else '127.0.0.1', 8080))\n\
                 sock.listen()\n",
        run: "python3 server.py",
    },
    Language {
        name: "c",
        needs: "cc",
        file: "server.c",
        source: "#include <arpa/inet.h>\n#include <netinet/in.h>\n#include <sys/socket.h>\n\
                 int main(int argc, char **argv) {\n\
                 int ipv6 = argc > 1, fd = socket(ipv6 ? AF_INET6 : AF_INET, SOCK_STREAM, 0);\n\
                 { /*LINE*/ }\n\
                 struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(8080)};\n\
                 struct sockaddr_in6 b = {.sin6_family = AF_INET6, .sin6_port = htons(8080)};\n\
                 inet_pton(AF_INET, \"127.0.0.1\", &a.sin_addr);\n\
                 int failed = ipv6 ? bind(fd, (void *)&b, sizeof b) : bind(fd, (void *)&a, sizeof a);\n\
                 return failed || listen(fd, 1);\n}\n",
        run: "cc -o server server.c && ./server",
    },
    Language {
        name: "perl",
        needs: "perl",
        file: "server.pl",
        source: "use strict; use warnings;\n\
                 use Socket qw(:DEFAULT IPPROTO_IPV6 IPV6_V6ONLY SO_REUSEPORT inet_pton pack_sockaddr_in6);\n\
                 my $ipv6 = @ARGV > 0;\n\
                 socket(my $sock, $ipv6 ? PF_INET6 : PF_INET, SOCK_STREAM, 0) or die;\n\
                 /*LINE*/\n\
                 my $name = $ipv6 ? pack_sockaddr_in6(8080, inet_pton(AF_INET6, '::'))\n\
                 : pack_sockaddr_in(8080, inet_aton('127.0.0.1'));\n\
                 bind($sock, $name) or exit 1;\n\
                 listen($sock, 1) or exit 1;\n",
        run: "perl server.pl",
    },
    Language {
        name: "node",
        needs: "node",
        file: "server.js",
        source: "const port = 8080;\n\
                 const server = require('net').createServer();\n\
                 const listen = server.listen.bind(server);\n\
                 let asked = false;\n\
                 server.listen = (how) => { asked = true; return listen(how); };\n\
                 server.on('error', () => process.exit(1));\n\
                 server.on('listening', () => process.exit(0));\n\
                 /*LINE*/\n\
                 if (!asked) server.listen({ port, host: '::' });\n",
        run: "node server.js",
    },
    Language {
        name: "java",
        needs: "javac",
        file: "Server.java",
        source: "import java.net.*;\n\
                 class Server { public static void main(String[] a) throws Exception {\n\
                 var serverSocket = new ServerSocket();\n\
                 serverSocket.setReuseAddress(false);\n\
                 /*LINE*/\n\
                 serverSocket.bind(new InetSocketAddress(\"127.0.0.1\", 8080));\n\
                 } }\n",
        run: "java Server.java",
    },
];

impl Language {
    fn is_here(&self) -> bool {
        std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
            .any(|path| path.join(self.needs).exists())
    }

    /// Whether a server with this line gets its port.
    fn listens(&self, directory: &Path, line: &str, is_ipv6: bool) -> bool {
        fs::write(directory.join(self.file), self.source.replace(LINE, line))
            .expect("there is room");
        let ipv6 = if is_ipv6 { " ipv6" } else { "" };
        Command::new("sh")
            .args(["-c", &format!("{}{ipv6}", self.run)])
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .expect("sh is there")
            .success()
    }
}

/// A server of each language fails; with the line of the fix it works.
#[track_caller]
fn with_the_line_it_works(id: &str, cause: &str, languages: &[&str], is_ipv6: bool) {
    for language in &LANGUAGES {
        if !languages.contains(&language.name) || !language.is_here() {
            continue;
        }
        let directory = tempfile::tempdir().expect("there is room");
        let mut watch = Watch::start(&["--port", "8080"]);
        let name = language.name;

        assert!(!language.listens(directory.path(), "", is_ipv6), "{name}");

        let diagnosis = watch.diagnosis("bind", 8080);
        assert_eq!(diagnosis["cause"], cause, "{diagnosis}");
        let fix = fix(&diagnosis, id);
        assert_eq!(fix["language"], name, "{fix}");
        assert_eq!(fix["applies"], "now", "{fix}");
        let line = fix["command"].as_str().expect("a line");
        assert!(
            language.listens(directory.path(), line, is_ipv6),
            "{name}: {line}"
        );
        watch.finish();
    }
}

#[test]
fn the_line_for_so_reuseaddr_lets_the_server_start() {
    if !on_stage(&[Program("python3", "python3")]) {
        return;
    }
    drop(leave_time_wait(true));

    with_the_line_it_works(
        "set_reuseaddr",
        "time_wait_no_reuse",
        &["python", "c", "perl", "java"],
        false,
    );
}

#[test]
fn the_line_for_so_reuseport_lets_the_server_share() {
    if !on_stage(&[Program("python3", "python3")]) {
        return;
    }
    let first = socket(at("127.0.0.1:8080"));
    rustix::net::sockopt::set_socket_reuseport(&first, true).expect("open");
    rustix::net::bind(&first, &at("127.0.0.1:8080")).expect("free");
    rustix::net::listen(&first, 1).expect("nobody else listens");

    with_the_line_it_works(
        "set_reuseport",
        "reuseport_mismatch",
        &["python", "c", "perl", "java"],
        false,
    );
}

#[test]
fn the_line_for_ipv6_v6only_leaves_ipv4_to_its_holder() {
    if !on_stage(&[Program("python3", "python3")]) {
        return;
    }
    let _ipv4 = listener("0.0.0.0:8080", true);

    with_the_line_it_works(
        "set_v6only",
        "dual_stack",
        &["python", "c", "perl", "node"],
        true,
    );
}
