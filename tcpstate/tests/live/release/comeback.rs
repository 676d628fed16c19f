//! What is started again after it was stopped.

use super::stage::{Actor, Bystanders, done, is_free, release};
use support::{Program, RealTime, on_stage};

#[test]
fn who_starts_a_server_again_is_named_and_nothing_is_stopped_twice() {
    if !on_stage(&[
        Program("python3", "python3"),
        RealTime("how soon it is back"),
    ]) {
        return;
    }
    let (mut supervisor, server) = Actor::tell(
        "
serves = '''
import socket, time
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind((\"127.0.0.1\", 8080)); s.listen(); print(flush=True); time.sleep(60)
'''
first = True
while True:
    p = subprocess.Popen([sys.executable, '-c', serves], stdout=subprocess.PIPE)
    p.stdout.readline()
    if first: ready(p.pid)
    first = False
    p.wait()
    time.sleep(0.1)
",
    );
    let mut bystanders = Bystanders::without_client();

    let (answer, code) = release(&[]);

    assert_eq!((code, is_free()), (1, false), "{answer}");
    assert_eq!(done(&answer), ["stop_process came_back"], "{answer}");
    let says = answer["done"][0]["says"].as_str().expect("text");
    assert!(
        says.contains(&format!("[{}] had ended", server[0])),
        "{says}"
    );
    assert!(
        says.contains(&format!(
            "[{}] has started it again; stop that",
            supervisor.pid()
        )),
        "{says}"
    );
    assert!(supervisor.is_alive());
    bystanders.have_noticed_nothing();

    // The last one that it started ends with it, by the script's own end.
    let last = answer["diagnosis"]["holders"][0]["processes"][0]["pid"]
        .as_u64()
        .and_then(|pid| i32::try_from(pid).ok())
        .and_then(rustix::process::Pid::from_raw)
        .expect("it is named");
    supervisor.end();
    rustix::process::kill_process(last, rustix::process::Signal::KILL).expect("it is ours");
}
