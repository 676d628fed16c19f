//! The service: its page, read by hand, by Prometheus' own linter, and by Prometheus.

use std::cell::RefCell;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;
use serde_json::Value;

use support::{Program, TCPSTATE, listener, on_stage, try_bind, wait_until};

const PAGE: &str = "127.0.0.1:9101";

/// The service, ended with the test.
struct Service(Child);

impl Service {
    #[track_caller]
    fn start(arguments: &[&str]) -> Self {
        let service = Command::new(TCPSTATE)
            .args(["serve", "--netns", "self"])
            .args(arguments)
            .stderr(Stdio::piped())
            .spawn()
            .expect("tcpstate starts");
        Self(service)
    }

    /// One on the usual port, once it gives metrics.
    #[track_caller]
    fn on_loopback(arguments: &[&str]) -> Self {
        let service = Self::start(arguments);
        wait_until("it gives metrics", || page().is_some());
        service
    }

    /// Has it end in order, and gives what it said.
    #[track_caller]
    fn end(mut self) -> String {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, Signal::TERM).expect("it is there");
        let mut said = String::new();
        let stderr = self.0.stderr.as_mut().expect("it is piped");
        stderr.read_to_string(&mut said).expect("it is text");
        assert!(self.0.wait().expect("it ends").success(), "{said}");
        said
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the page has; `None`: nobody answers yet.
fn page() -> Option<String> {
    read(TcpStream::connect(PAGE).ok()?)
}

fn read(mut stream: impl std::io::Read + std::io::Write) -> Option<String> {
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, page) = answer.split_once("\r\n\r\n")?;
    head.starts_with("HTTP/1.1 200").then(|| page.to_owned())
}

#[track_caller]
fn wait_for(series: &str) -> String {
    let latest = RefCell::new(String::new());
    wait_until(series, || {
        latest.replace(page().expect("it answers"));
        let page = latest.borrow();
        page.lines().any(|line| line.starts_with(series))
    });
    latest.into_inner()
}

/// A bind that fails, and a restart of the server that was in its way.
fn fail_and_restart() {
    let old = listener("127.0.0.1:8080", true);
    try_bind("127.0.0.1:8080", true).expect_err("somebody listens");
    wait_for(
        "tcpstate_failed_calls_total{call=\"bind\",errno=\"EADDRINUSE\",cause=\"active_listener\",\
         proto=\"tcp\",port=\"8080\"} 1",
    );
    drop(old);
    wait_for("tcpstate_sockets{state=\"listen\",port=\"8080\"} 0");
    std::mem::forget(listener("127.0.0.1:8080", true));
    wait_for("tcpstate_restarts_total{port=\"8080\"} 1");
}

#[test]
fn a_failed_bind_and_a_restart_are_series_of_their_port() {
    if !on_stage(&[]) {
        return;
    }
    let service = Service::on_loopback(&["--port", "443"]);

    fail_and_restart();

    let page = wait_for("tcpstate_restart_downtime_seconds_count{port=\"8080\"} 1");
    for series in [
        "tcpstate_sockets{state=\"listen\",port=\"8080\"} 1",
        "tcpstate_sockets{state=\"listen\",port=\"9101\"} 1",
        "tcpstate_restart_downtime_seconds_bucket{le=\"+Inf\",port=\"8080\"} 1",
        concat!(
            "tcpstate_build_info{version=\"",
            env!("CARGO_PKG_VERSION"),
            "\"} 1"
        ),
    ] {
        assert!(page.lines().any(|line| line == series), "{series}\n{page}");
    }
    assert_eq!(service.end(), "");
}

#[test]
fn prometheus_takes_the_page_and_finds_the_failed_restart() {
    let requirements = [
        Program("prometheus", "prometheus"),
        Program("promtool", "prometheus"),
    ];
    if !on_stage(&requirements) {
        return;
    }
    let _service = Service::on_loopback(&[]);
    fail_and_restart();

    let mut linter = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is there");
    let mut stdin = linter.stdin.take().expect("it is piped");
    stdin
        .write_all(page().expect("it answers").as_bytes())
        .expect("it reads");
    drop(stdin);
    let found = linter.wait_with_output().expect("it ends");
    let found = String::from_utf8_lossy(&found.stderr).into_owned();
    assert_eq!(found, "", "promtool");

    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("prometheus.yml");
    let scrape = "scrape_configs: [{job_name: tcpstate, scrape_interval: 1s, \
                  static_configs: [{targets: ['127.0.0.1:9101']}]}]\n";
    std::fs::write(&config, scrape).expect("there is room");
    let prometheus = Command::new("prometheus")
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", folder.path().display()))
        .arg("--web.listen-address=127.0.0.1:9090")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("prometheus starts");
    let _prometheus = Service(prometheus);
    let query = "tcpstate_failed_calls_total{cause=\"active_listener\"}";

    let answer = RefCell::new(Value::Null);
    wait_until("Prometheus has the failed bind", || {
        answer.replace(asked(query).unwrap_or_default());
        answer.borrow()["data"]["result"][0]["value"][1] == "1"
    });

    let answer = answer.into_inner();
    let labels = &answer["data"]["result"][0]["metric"];
    assert_eq!(labels["port"], "8080", "{answer}");
    assert_eq!(labels["errno"], "EADDRINUSE", "{answer}");
}

/// What Prometheus answers.
fn asked(query: &str) -> Option<Value> {
    let mut stream = TcpStream::connect("127.0.0.1:9090").ok()?;
    let body = format!("query={}", query.replace('{', "%7B").replace('}', "%7D"));
    let request = format!(
        "POST /api/v1/query HTTP/1.0\r\nHost: x\r\nContent-Type: \
         application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
}

#[test]
fn a_unix_socket_is_there_while_the_service_is() {
    if !on_stage(&[]) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("metrics");
    let address = format!("unix:{}", path.display());

    let service = Service::start(&["--listen", &address]);

    wait_until("it gives metrics", || {
        UnixStream::connect(&path).ok().and_then(read).is_some()
    });
    assert_eq!(service.end(), "");
    assert!(!path.exists());
}

#[test]
fn what_cannot_be_listened_on_is_one_sentence() {
    if !on_stage(&[]) {
        return;
    }
    let _taken = listener(PAGE, true);

    let output = Command::new(TCPSTATE)
        .args(["serve", "--netns", "self"])
        .output()
        .expect("tcpstate runs");

    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains("127.0.0.1:9101") && said.contains("--listen") && said.lines().count() == 1,
        "{said}"
    );
}
