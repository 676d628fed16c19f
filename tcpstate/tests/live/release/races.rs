//! The world changes between the plan and the step: forced, while it is asked.

use std::process::Command;

use super::stage::{Actor, Asking, Bystanders, SERVER, is_free};
use support::{Program, TCPSTATE, on_stage};

#[test]
fn only_the_word_yes_is_a_yes() {
    if !on_stage(&[Program("python3", "python3")]) {
        return;
    }
    let mut server = Actor::play(SERVER);
    for answer in ["", "y", "no", "YES", "yes please"] {
        let mut asking = Asking::start(&[]);
        asking.answer(answer);
        let (text, code) = asking.finish();

        assert_eq!(code, 2, "{answer:?}: {text}");
        assert!(text.contains("nothing was done"), "{text}");
        assert!(server.is_alive(), "{answer:?}: {text}");
    }
    let mut asking = Asking::start(&[]);
    asking.answer("yes");
    let (text, code) = asking.finish();

    assert_eq!((code, is_free()), (0, true), "{text}");
    assert!(text.contains("has ended after SIGTERM"), "{text}");
    assert!(!server.is_alive());
}

#[test]
fn a_holder_that_ends_by_itself_is_not_looked_for() {
    if !on_stage(&[Program("python3", "python3")]) {
        return;
    }
    let mut server = Actor::play(SERVER);
    let mut bystanders = Bystanders::without_client();
    let mut asking = Asking::start(&[]);
    server.end();
    asking.answer("yes");
    let (text, code) = asking.finish();

    assert_eq!((code, is_free()), (0, true), "{text}");
    assert!(text.contains("not needed"), "{text}");
    assert!(!text.contains("SIGTERM ("), "{text}");
    bystanders.have_noticed_nothing();
}

#[test]
fn another_holder_is_asked_about_anew_and_left_alone_without_a_yes() {
    if !on_stage(&[Program("python3", "python3")]) {
        return;
    }
    let mut first = Actor::play(SERVER);
    let mut asking = Asking::start(&[]);
    first.end();
    let mut second = Actor::play(SERVER);
    asking.answer("yes");
    asking.read_to_the_question();
    assert!(second.is_alive(), "the yes was not for it");
    asking.answer("no");
    let (text, code) = asking.finish();

    assert!(second.is_alive() && !is_free(), "{text}");
    assert_eq!(code, 2, "{text}");
    assert!(
        text.contains(&format!("not done: python3[{}]", first.pid())),
        "{text}"
    );
    assert!(
        text.contains(&format!("Stop python3[{}]", second.pid())),
        "{text}"
    );
}

#[test]
fn a_holder_that_is_another_by_then_goes_with_the_second_yes() {
    if !on_stage(&[Program("python3", "python3")]) {
        return;
    }
    let mut first = Actor::play(SERVER);
    let mut asking = Asking::start(&[]);
    first.end();
    let mut second = Actor::play(SERVER);
    asking.answer("yes");
    asking.read_to_the_question();
    asking.answer("yes");
    let (text, code) = asking.finish();

    assert_eq!((code, is_free()), (0, true), "{text}");
    assert!(!second.is_alive());
}

/// The holder ends while it is asked, and another server gets its number: the pid namespace is
/// our own, and its next number can be chosen.
const NUMBER_COMES_BACK: &str = "
import pty
SERVES = 's = listening(8080); ready(); sleep()'
def serve():
    pid = os.fork()
    if pid == 0:
        s = listening(8080)
        os.write(tell, b'1')
        sleep(); os._exit(0)
    os.read(told, 1)
    return pid
told, tell = os.pipe()
first = serve()
master, terminal = pty.openpty()
asking = subprocess.Popen([sys.argv[1], 'release', '8080'], stdin=terminal, stdout=terminal, stderr=terminal)
os.close(terminal)
text = b''
def read_to(end):
    global text
    got = b''
    while not got.endswith(end):
        byte = os.read(master, 1)
        got += byte
    text += got
QUESTION = b'Type yes to do this: '
read_to(QUESTION)
os.kill(first, signal.SIGKILL); os.waitpid(first, 0)
for _ in range(1000):
    open('/proc/sys/kernel/ns_last_pid', 'w').write(str(first - 1))
    second = serve()
    if second == first: break
    os.kill(second, signal.SIGKILL); os.waitpid(second, 0)
time.sleep(0.1)
os.write(master, b'yes\\n')
read_to(QUESTION)
alive = os.waitpid(second, os.WNOHANG) == (0, 0)
time.sleep(0.1)
os.write(master, b'no\\n')
code = asking.wait()
alive_still = os.waitpid(second, os.WNOHANG) == (0, 0)
ready(int(first == second), int(alive), int(alive_still), code)
print(repr(text), flush=True)
";

#[test]
fn another_process_with_the_number_of_the_holder_is_not_taken_for_it() {
    if !on_stage(&[
        Program("python3", "python3"),
        Program("unshare", "util-linux"),
    ]) {
        return;
    }
    let (mut stage, said) = Actor::play_by(
        Command::new("unshare")
            .args([
                "--pid",
                "--fork",
                "--mount-proc",
                "--kill-child",
                "python3",
                "-c",
            ])
            .arg(Actor::script(NUMBER_COMES_BACK))
            .arg(TCPSTATE),
    );
    let text = stage.next();

    assert_eq!(
        said,
        [1, 1, 1, 2],
        "same number, alive, alive, code: {text}"
    );
    assert!(text.contains("not done: python3["), "{text}");
}
