use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::thread;

use super::*;
use crate::metrics::{Kind, Sample, Value};

fn families() -> Vec<Family> {
    vec![Family {
        name: "t_up",
        help: "It is up",
        kind: Kind::Gauge,
        samples: vec![Sample {
            labels: Vec::new(),
            value: Value::Gauge(1),
        }],
    }]
}

/// Serves in a thread that ends with the test's process; the run behind it answers, or not.
fn served(page: Page, does_answer: bool) {
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let (run, mut asks) = mpsc::channel::<Ask>(4);
            tokio::spawn(async move {
                let mut unanswered = Vec::new();
                while let Some(ask) = asks.recv().await {
                    if does_answer {
                        let _ = ask.send(families());
                    } else {
                        unanswered.push(ask);
                    }
                }
            });
            let _ = page.serve(run).await;
        });
    });
}

fn on_loopback(does_answer: bool) -> SocketAddr {
    let any = Address::Tcp(([127, 0, 0, 1], 0).into());
    let page = Page::bind(&any).expect("a free port");
    let Page::Tcp(listener) = &page else {
        panic!("it is TCP")
    };
    let address = listener.local_addr().expect("it is bound");
    served(page, does_answer);
    address
}

fn get(mut stream: impl io::Read + io::Write, head: &str) -> String {
    let _ = stream.write_all(format!("{head}\r\nHost: x\r\n\r\n").as_bytes());
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer
}

fn asked(address: SocketAddr, head: &str) -> String {
    get(TcpStream::connect(address).expect("it listens"), head)
}

#[test]
fn an_address_is_tcp_or_a_unix_socket() {
    let tcp: Address = "[::1]:9101".parse().expect("an address");
    let elsewhere: Address = "0.0.0.0:9101".parse().expect("an address");
    let unix: Address = "unix:/run/x".parse().expect("an address");

    assert!(!tcp.is_reached_from_elsewhere() && !unix.is_reached_from_elsewhere());
    assert!(elsewhere.is_reached_from_elsewhere());
    assert_eq!(unix, Address::Unix("/run/x".into()));
    for wrong in ["9101", "localhost:9101", "unix:run", "127.0.0.1"] {
        let error = wrong.parse::<Address>().expect_err("no address");
        assert!(error.to_string().contains("127.0.0.1:9101"), "{error}");
    }
}

#[test]
fn the_page_is_at_metrics_and_nowhere_else() {
    let address = on_loopback(true);

    let page = asked(address, "GET /metrics HTTP/1.1");
    assert!(page.starts_with("HTTP/1.1 200 OK\r\n"), "{page}");
    assert!(page.contains("text/plain; version=0.0.4"), "{page}");
    let open = asked(
        address,
        "GET /metrics HTTP/1.1\r\nAccept: application/openmetrics-text",
    );
    assert!(
        open.contains("application/openmetrics-text; version=1.0.0"),
        "{open}"
    );
    assert!(page.ends_with("t_up 1\n# EOF\n"), "{page}");
    let head = asked(address, "HEAD /metrics HTTP/1.1");
    assert!(
        head.starts_with("HTTP/1.1 200") && head.ends_with("\r\n\r\n"),
        "{head}"
    );
    assert!(asked(address, "GET /etc/passwd HTTP/1.1").starts_with("HTTP/1.1 404"));
    assert!(asked(address, "POST /metrics HTTP/1.1").starts_with("HTTP/1.1 405"));
    assert!(asked(address, "\x16\x03\x01 no HTTP").starts_with("HTTP/1.1 400"));
}

#[test]
fn a_run_that_does_not_answer_is_not_waited_for() {
    let address = on_loopback(false);

    let answer = asked(address, "GET /metrics HTTP/1.1");

    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
}

#[test]
fn who_connects_and_says_nothing_keeps_nobody_out() {
    let address = on_loopback(true);
    let idle: Vec<_> = (0..5 * MAX_CONNECTIONS)
        .map(|_| TcpStream::connect(address).expect("it listens"))
        .collect();

    let page = asked(address, "GET /metrics HTTP/1.1");

    assert!(page.starts_with("HTTP/1.1 200"), "{page}");
    drop(idle);
}

#[test]
fn a_head_without_end_is_refused() {
    let address = on_loopback(true);
    let mut stream = TcpStream::connect(address).expect("it listens");
    let mut answer = String::new();

    let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\n");
    for _ in 0..10_000 {
        if stream.write_all(b"X-Y: zzzzzzzzzzzzzzzz\r\n").is_err() {
            break;
        }
    }
    let _ = stream.read_to_string(&mut answer);

    assert!(!answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(asked(address, "GET /metrics HTTP/1.1").starts_with("HTTP/1.1 200"));
}

#[test]
fn a_unix_socket_is_its_owners_and_goes_with_the_page() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("metrics");
    let address = Address::Unix(path.clone());

    let page = Page::bind(&address).expect("it is free");
    let mode = fs::metadata(&path)
        .expect("it is there")
        .permissions()
        .mode();
    let taken = Page::bind(&address).expect_err("somebody listens");
    assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
    assert_eq!(mode & 0o777, 0o660);
    drop(page);
    assert!(!path.exists());

    // One that was left behind.
    drop(std::os::unix::net::UnixListener::bind(&path).expect("it is free"));
    assert!(path.exists());
    served(Page::bind(&address).expect("nobody listens"), true);
    let page = get(
        UnixStream::connect(&path).expect("it listens"),
        "GET /metrics HTTP/1.1",
    );
    assert!(page.starts_with("HTTP/1.1 200"), "{page}");
}

#[test]
fn what_is_no_socket_is_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("file");
    fs::write(&path, "mine").expect("there is room");

    let refused = Page::bind(&Address::Unix(path.clone())).expect_err("it is a file");

    assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
    assert_eq!(fs::read(&path).expect("it is there"), b"mine");
}
