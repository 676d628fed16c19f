//! `wait`.

use super::*;

#[test]
fn wait_returns_as_soon_as_the_port_is_free() {
    if !on_stage(&[]) {
        return;
    }
    let listening: OwnedFd = listener(SERVER, true);
    let began_ns = clock::monotonic_ns();
    let waiting = Command::new(TCPSTATE)
        .args(["wait", "8080", "--timeout", "20s", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("tcpstate starts");
    std::thread::sleep(Duration::from_millis(700));
    drop(listening);
    let output = waiting.wait_with_output().expect("it ends");
    let took = Duration::from_nanos(clock::monotonic_ns() - began_ns);

    let answer = answer(&output);
    assert_eq!(answer["would_bind"], "yes");
    assert!(
        answer["waited_ms"].as_u64().is_some_and(|ms| ms >= 500),
        "{answer}"
    );
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert_eq!(try_bind(SERVER, false).err(), None);
}

#[test]
fn wait_gives_up_at_its_timeout_and_says_what_still_holds_the_port() {
    if !on_stage(&[]) {
        return;
    }
    let _listening = listener(SERVER, true);

    let output = run(&["wait", "8080", "--timeout", "300ms"]);

    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.starts_with("Port 8080 is taken: "), "{text}");
    assert_eq!(try_bind(SERVER, true).err(), Some(Errno::ADDRINUSE));
}
