//! Servers as they are, with and without each option.

use std::path::Path;

use rustix::process::Signal;

use super::*;
use support::on_stage;

/// A server, and how it is started in a folder of its own.
struct Server {
    name: &'static str,
    /// What it needs; without it it is left out.
    needs: &'static str,
    command: &'static str,
}

impl Server {
    fn is_here(&self) -> bool {
        ["/usr/sbin", "/usr/bin", "/bin"]
            .iter()
            .any(|folder| Path::new(folder).join(self.needs).exists())
    }
}

const SERVERS: [Server; 12] = [
    Server {
        name: "python http.server",
        needs: PYTHON,
        command: "exec /usr/bin/python3 -m http.server --bind 127.0.0.1 8080",
    },
    Server {
        name: "socat",
        needs: "socat",
        command: "exec socat tcp4-listen:8080,bind=127.0.0.1,fork exec:'echo hi'",
    },
    Server {
        name: "nginx in the foreground",
        needs: "nginx",
        command: "printf 'daemon off; pid nginx.pid; error_log stderr; events {} http { \
                  access_log off; client_body_temp_path b; proxy_temp_path p; \
                  fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s; server { listen 127.0.0.1:8080; } }' > nginx.conf; \
                  exec nginx -p . -c $PWD/nginx.conf",
    },
    Server {
        name: "a shell that starts children",
        needs: "socat",
        command: "sleep 1000 & a=$!; socat tcp4-listen:8080,bind=127.0.0.1,fork exec:'echo hi' & b=$!; \
                  trap 'kill $a $b; exit 0' TERM; wait",
    },
    Server {
        name: "node",
        needs: "node",
        command: "exec node -e \"require('net').createServer(c => c.end('hi')).listen(8080, '127.0.0.1')\"",
    },
    Server {
        name: "perl",
        needs: "perl",
        command: "exec perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new(LocalAddr => \
                  \"127.0.0.1:8080\", Listen => 5) or die $!; \
                  while ($c = $s->accept) { print $c \"hi\"; close $c }'",
    },
    Server {
        name: "java",
        needs: "java",
        command: "printf 'class S { public static void main(String[] a) throws Exception { var s = new \
                  java.net.ServerSocket(8080, 50, java.net.InetAddress.getLoopbackAddress()); \
                  while (true) s.accept().close(); } }' > S.java; exec java S.java",
    },
    Server {
        name: "redis",
        needs: "redis-server",
        command: "exec redis-server --bind 127.0.0.1 --port 8080 --save '' --dir .",
    },
    Server {
        name: "memcached",
        needs: "memcached",
        command: "exec memcached -l 127.0.0.1 -p 8080 -U 0",
    },
    Server {
        name: "gunicorn",
        needs: "gunicorn",
        command: "printf 'def app(env, start):\n    start(\"200 OK\", [])\n    return [b\"hi\"]\n' > app.py; \
                  exec gunicorn --graceful-timeout 2 -b 127.0.0.1:8080 -w 2 app:app",
    },
    Server {
        name: "PostgreSQL",
        needs: "pg_lsclusters",
        command: "bin=$(echo /usr/lib/postgresql/*/bin); [ -d data ] || $bin/initdb -D data >/dev/null; \
                  exec $bin/postgres -D data -h 127.0.0.1 -p 8080 -k $PWD",
    },
    Server {
        name: "a static binary",
        needs: "cc",
        command: "printf '#include <arpa/inet.h>\\n#include <unistd.h>\\nint main(void) { int s = \
                  socket(2, 1, 0); struct sockaddr_in a = {2, htons(8080), {htonl(0x7f000001)}}; \
                  if (bind(s, (void *)&a, sizeof a) || listen(s, 9)) return 1; for (;;) \
                  close(accept(s, 0, 0)); }' > s.c; cc -static -o s s.c && exec ./s",
    },
];

const OPTIONS: [&[&str]; 5] = [
    &[],
    &["--reuseaddr"],
    &["--reuseport"],
    &["--wait"],
    &["--keep", "8080"],
];

/// Connects until somebody answers or closes.
fn serves() -> bool {
    let addr: SocketAddr = SERVER.parse().expect("an address");
    TcpStream::connect_timeout(&addr, Duration::from_secs(1)).is_ok()
}

#[test]
fn servers_of_many_languages_run_as_they_are() {
    if !on_stage(&[SETPRIV, NEEDS_PYTHON]) {
        return;
    }
    let mut tried = Vec::new();
    let mut failed = Vec::new();
    for server in &SERVERS {
        if !server.is_here() {
            println!("{} is not tried: there is no {}", server.name, server.needs);
            continue;
        }
        for options in OPTIONS {
            let folder = folder_for_programs();
            let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
            std::fs::set_permissions(folder.path(), open).expect("it is ours");
            if let Err(why) = serve(server, options, folder.path()) {
                println!("{} {options:?}: {why}", server.name);
                failed.push(format!("{} {options:?}: {why}", server.name));
            }
            destroy();
        }
        tried.push(server.name);
    }
    support::report_figures(&format!("run: {} with each option", tried.join(", ")));
    assert!(failed.is_empty(), "{failed:#?}");
}

/// Serves, is restarted where the option lets it at once, and ends when it is told to.
fn serve(server: &Server, options: &[&str], folder: &Path) -> Result<(), String> {
    let mut command = run(User::Nobody, options, &["sh", "-c", server.command]);
    // Who outlives it has the file open, not a pipe that would have to end.
    let log = folder.join("stderr");
    let file = std::fs::File::create(&log).expect("there is room");
    command
        .current_dir(folder)
        .stdout(Stdio::null())
        .stderr(file);
    let running = Running::start(command);
    let patience_ns = u64::try_from(patience().as_nanos()).expect("seconds") / 2;
    let waits = |what: &str, is_so: &dyn Fn() -> bool| {
        let began_ns = clock::monotonic_ns();
        while !is_so() {
            if clock::monotonic_ns() > began_ns + patience_ns {
                return Err(what.to_owned());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    };
    let outcome = waits("it does not serve", &serves);
    let pid = running.0.id();
    let outcome = outcome.and_then(|()| {
        if options.is_empty() || options == ["--wait"] {
            return Ok(());
        }
        let before = children(pid);
        running.signal(Signal::HUP);
        waits("it is not restarted", &|| {
            let now = children(pid);
            !now.is_empty() && now.iter().all(|pid| !before.contains(pid))
        })?;
        waits("it does not serve again", &serves)
    });
    let began_ns = clock::monotonic_ns();
    let (code, _) = running.finish(Some(Signal::TERM));
    let said = std::fs::read_to_string(&log).unwrap_or_default();
    outcome.map_err(|why| format!("{why}: {said}"))?;
    if since(began_ns) > patience() || code.is_none() {
        return Err(format!("it does not end: {code:?} {said}"));
    }
    if said.contains("WHY") {
        return Err(said);
    }
    Ok(())
}

/// What the last one left.
fn destroy() {
    let _ = Command::new("ss")
        .args(["-Kt", "sport", "=", ":8080"])
        .output();
    let _ = Command::new("ss")
        .args(["-Kt", "state", "time-wait", "sport", "=", ":8080"])
        .output();
}
