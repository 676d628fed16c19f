//! Servers that hold a port, and those who must not notice that it is freed.

use std::io::{BufRead as _, BufReader, Lines, Read as _, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use support::{TCPSTATE, try_bind};

pub(super) const PORT: u16 = 8080;

/// What each script begins with. It ends by itself, whatever becomes of the test.
const PRELUDE: &str = "
import os, signal, socket, struct, subprocess, sys, time
def ready(*words):
    print(*words, flush=True)
def bound(port, addr='127.0.0.1', reuse=True):
    s = socket.socket()
    if reuse: s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind((addr, port))
    return s
def listening(port, addr='127.0.0.1'):
    s = bound(port, addr); s.listen(64); return s
def sleep():
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline: time.sleep(1)
";

/// Listens, accepts all, and keeps what it accepted.
pub(super) const SERVER: &str = "
s = listening(8080); ready(os.getpid())
kept = []
s.settimeout(60)
while True: kept.append(s.accept()[0])
";

/// A process that the test has started, and ends.
pub(super) struct Actor {
    child: Child,
    input: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Actor {
    /// Runs a script until it says something.
    pub(super) fn play(script: &str) -> Self {
        Self::play_by(Command::new("python3").args(["-c", &format!("{PRELUDE}{script}")])).0
    }

    /// The same, with the words that it says first.
    pub(super) fn tell(script: &str) -> (Self, Vec<u32>) {
        Self::play_by(Command::new("python3").args(["-c", &format!("{PRELUDE}{script}")]))
    }

    /// A script with the prelude.
    pub(super) fn script(script: &str) -> String {
        format!("{PRELUDE}{script}")
    }

    /// The same by another command.
    pub(super) fn play_by(command: &mut Command) -> (Self, Vec<u32>) {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let input = child.stdin.take();
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let said = lines.next().expect("it says something").expect("text");
        let numbers = said
            .split_whitespace()
            .filter_map(|word| word.parse().ok())
            .collect();
        let actor = Self {
            child,
            input,
            lines,
        };
        (actor, numbers)
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has not ended; one that was killed is no zombie here.
    pub(super) fn is_alive(&mut self) -> bool {
        self.child.try_wait().expect("it is ours").is_none()
    }

    /// What it says next.
    pub(super) fn next(&mut self) -> String {
        self.lines.next().expect("it says more").expect("text")
    }

    pub(super) fn go_on(&mut self) {
        let input = self.input.as_mut().expect("it listens");
        input.write_all(b"\n").expect("it listens");
    }

    pub(super) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it is ours, and not reaped");
    }

    /// Until it has ended by itself.
    pub(super) fn wait(&mut self) {
        self.child.wait().expect("it is ours");
    }

    /// Ends it now.
    pub(super) fn end(&mut self) {
        self.child.kill().expect("it is ours");
        self.child.wait().expect("it is ours");
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A process that is connected to the port, and one that serves another port: they live on.
pub(super) struct Bystanders {
    client: Option<Actor>,
    server: Actor,
}

impl Bystanders {
    /// Where nobody serves the port.
    pub(super) fn without_client() -> Self {
        Self {
            client: None,
            server: Actor::play(&SERVER.replace("8080", "9090")),
        }
    }

    pub(super) fn take_the_stage() -> Self {
        let client = "
c = socket.create_connection(('127.0.0.1', 8080)); ready()
sleep()
";
        Self {
            client: Some(Actor::play(client)),
            ..Self::without_client()
        }
    }

    #[track_caller]
    pub(super) fn have_noticed_nothing(&mut self) {
        if let Some(client) = &mut self.client {
            assert!(client.is_alive(), "the client was ended");
        }
        assert!(self.server.is_alive(), "the bystander was ended");
        std::net::TcpStream::connect("127.0.0.1:9090").expect("the bystander serves");
    }
}

/// The kernel's answer to a bind without any option.
pub(super) fn is_free() -> bool {
    try_bind(&format!("0.0.0.0:{PORT}"), false).is_ok()
}

/// What was printed as JSON, held against the schema, with the exit code.
#[track_caller]
pub(super) fn parse(output: &Output) -> (Value, i32) {
    let text = String::from_utf8_lossy(&output.stdout);
    let answer: Value =
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}{output:?}"));
    assert_eq!(answer["event"], "release");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{answer}");
    let schema = tcpstate::export::schema::schema();
    let validator = jsonschema::validator_for(schema.as_value()).expect("the schema is one");
    assert!(validator.is_valid(&answer), "not of the schema: {answer}");
    (answer, output.status.code().expect("it ends by itself"))
}

/// Frees the port without asking; nobody is there who could be asked.
#[track_caller]
pub(super) fn release(arguments: &[&str]) -> (Value, i32) {
    let arguments = [&["release", "8080", "--yes", "--json"], arguments].concat();
    parse(&support::run(&arguments))
}

/// The plan alone.
#[track_caller]
pub(super) fn plan() -> Value {
    parse(&support::run(&["release", "8080", "--dry-run", "--json"])).0
}

/// What it was freed by: `stop_process done`.
pub(super) fn done(answer: &Value) -> Vec<String> {
    let steps = answer["done"].as_array().expect("a list");
    let word = |value: &Value| value.as_str().expect("a word").to_owned();
    steps
        .iter()
        .map(|step| format!("{} {}", word(&step["step"]), word(&step["outcome"])))
        .collect()
}

/// Why holders were left alone.
pub(super) fn refused(answer: &Value) -> Vec<&str> {
    let Some(refused) = answer["refused"].as_array() else {
        return Vec::new();
    };
    refused
        .iter()
        .map(|refusal| refusal["why"].as_str().expect("a word"))
        .collect()
}

/// The program on a terminal of its own, which asks.
pub(super) struct Asking {
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
    pub(super) text: String,
}

/// Copies a terminal of its own from and to pipes.
const TERMINAL: &str = "
import os, pty, sys
status = pty.spawn(sys.argv[1:])
sys.exit(os.waitstatus_to_exitcode(status))
";

impl Asking {
    /// Until it asks.
    pub(super) fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new("python3")
            .args(["-c", TERMINAL, TCPSTATE.path(), "release", "8080"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is there");
        let input = child.stdin.take().expect("piped");
        let output = child.stdout.take().expect("piped");
        let mut asking = Self {
            child,
            input,
            output,
            text: String::new(),
        };
        asking.read_to_the_question();
        asking
    }

    /// Reads on until it asks once more.
    #[track_caller]
    pub(super) fn read_to_the_question(&mut self) {
        const QUESTION: &str = "Type yes to do this: ";
        let from = self.text.len();
        let mut byte = [0; 1];
        let mut bytes = Vec::new();
        while !bytes.ends_with(QUESTION.as_bytes()) {
            let read = self.output.read(&mut byte).expect("the terminal is there");
            assert!(
                read > 0,
                "it does not ask: {}",
                String::from_utf8_lossy(&bytes)
            );
            bytes.push(byte[0]);
        }
        self.text.push_str(&String::from_utf8_lossy(&bytes));
        assert!(self.text.len() > from);
    }

    pub(super) fn answer(&mut self, words: &str) {
        // What is typed before the question was asked is thrown away.
        std::thread::sleep(std::time::Duration::from_millis(50));
        writeln!(self.input, "{words}").expect("the terminal is there");
    }

    /// Everything that it said, and how it ended.
    pub(super) fn finish(mut self) -> (String, i32) {
        let mut rest = Vec::new();
        self.output
            .read_to_end(&mut rest)
            .expect("the terminal is there");
        self.text.push_str(&String::from_utf8_lossy(&rest));
        let status = self.child.wait().expect("it ends");
        (self.text, status.code().expect("it ends by itself"))
    }
}
