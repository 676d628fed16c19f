//! The filter's small language: what is typed after `/`.
//!
//! Words are joined by "and"; `!` before one means "not".
//! `port:8080`, `port:8000-8010`, `state:time_wait`, `pid:4711`, `comm:nginx`,
//! `addr:10.0.0.1`, `cause:closing`; any other word is looked for in addresses,
//! states and names.

use std::fmt::Write as _;

use crate::event::{Body, Endpoint, Event, Process, State};
use crate::model::Socket;

/// One line per word of the language, for the help.
pub const LANGUAGE: &[(&str, &str)] = &[
    ("port:8080  port:8000-8010", "local or peer port"),
    ("state:time_wait", "state, or how its name begins"),
    ("pid:4711  comm:nginx", "process, or who left the socket"),
    ("addr:10.0.0.1", "local or peer address"),
    ("cause:closing", "cause of a failure"),
    ("word", "anywhere in addresses, states and names"),
    ("!word", "not this"),
];

/// A parsed filter; the empty one lets everything through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    text: String,
    terms: Vec<Term>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Term {
    is_negated: bool,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    Port(u16, u16),
    State(String),
    Pid(u32),
    Comm(String),
    Addr(String),
    Cause(String),
    Text(String),
}

/// What a test looks at.
#[derive(Default)]
struct Subject<'a> {
    endpoints: [Option<Endpoint>; 3],
    states: [Option<State>; 2],
    processes: [Option<&'a Process>; 2],
    words: [&'a str; 2],
    cause: &'a str,
}

impl Filter {
    /// Parses what was typed; the error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let terms = text
            .split_whitespace()
            .map(parse_term)
            .collect::<Result<_, _>>()?;
        Ok(Self {
            text: text.trim().to_owned(),
            terms,
        })
    }

    /// What was typed.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it lets everything through.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// Whether the socket is let through.
    #[must_use]
    pub fn matches_socket(&self, socket: &Socket) -> bool {
        self.is_empty()
            || self.matches(&Subject {
                endpoints: [Some(socket.local), Some(socket.peer), None],
                states: [Some(socket.state), None],
                processes: [socket.owner.as_deref(), socket.left_by.as_deref()],
                ..Subject::default()
            })
    }

    /// Whether the event is let through.
    #[must_use]
    pub fn matches_event(&self, event: &Event) -> bool {
        self.is_empty() || self.matches(&subject_of(event))
    }

    fn matches(&self, subject: &Subject<'_>) -> bool {
        self.terms
            .iter()
            .all(|term| term.test.matches(subject) != term.is_negated)
    }
}

fn parse_term(word: &str) -> Result<Term, String> {
    let (is_negated, word) = match word.strip_prefix('!') {
        Some(rest) => (true, rest),
        None => (false, word),
    };
    let test = match word.split_once(':') {
        Some((_, "")) => return Err(format!("{word} needs a value, such as port:8080")),
        Some(("port", value)) => parse_ports(value)
            .ok_or_else(|| format!("port:{value}: a port is a number from 0 to 65535"))?,
        Some(("pid", value)) => Test::Pid(
            value
                .parse()
                .map_err(|_| format!("pid:{value}: a process id is a number"))?,
        ),
        Some(("state", value)) => parse_state(value)?,
        Some(("comm", value)) => Test::Comm(value.to_lowercase()),
        Some(("addr", value)) => Test::Addr(value.to_lowercase()),
        Some(("cause", value)) => Test::Cause(value.to_lowercase()),
        _ if word.is_empty() => return Err("! needs a word after it".to_owned()),
        _ => Test::Text(word.to_lowercase()),
    };
    Ok(Term { is_negated, test })
}

fn parse_ports(value: &str) -> Option<Test> {
    let (first, last) = value.split_once('-').unwrap_or((value, value));
    Some(Test::Port(first.parse().ok()?, last.parse().ok()?))
}

fn parse_state(value: &str) -> Result<Test, String> {
    let prefix = value.to_lowercase().replace('-', "_");
    if State::ALL
        .iter()
        .any(|state| state.name().starts_with(&prefix))
    {
        Ok(Test::State(prefix))
    } else {
        Err(format!("state:{value}: no state's name begins like this"))
    }
}

impl Test {
    fn matches(&self, subject: &Subject<'_>) -> bool {
        let mut endpoints = subject.endpoints.iter().flatten();
        let mut states = subject.states.iter().flatten();
        let mut processes = subject.processes.iter().flatten();
        match self {
            Self::Port(first, last) => {
                endpoints.any(|endpoint| (*first..=*last).contains(&endpoint.port))
            }
            Self::State(prefix) => states.any(|state| state.name().starts_with(prefix)),
            Self::Pid(pid) => processes.any(|process| process.pid == *pid),
            Self::Comm(comm) => processes.any(|process| contains(&process.comm, comm)),
            Self::Addr(addr) => {
                let mut text = String::new();
                endpoints.any(|endpoint| {
                    text.clear();
                    // Writing to a String cannot fail.
                    let _ = write!(text, "{}", endpoint.addr);
                    text.starts_with(addr)
                })
            }
            Self::Cause(cause) => subject.cause.starts_with(cause),
            Self::Text(needle) => {
                let mut text = String::new();
                states.any(|state| state.name().contains(needle))
                    || subject.words.iter().any(|word| contains(word, needle))
                    || subject.cause.contains(needle)
                    || processes.any(|process| process_contains(process, needle))
                    || endpoints.any(|endpoint| {
                        text.clear();
                        let _ = write!(text, "{endpoint}");
                        text.contains(needle)
                    })
            }
        }
    }
}

fn process_contains(process: &Process, needle: &str) -> bool {
    contains(&process.comm, needle)
        || process
            .exe
            .as_deref()
            .is_some_and(|exe| contains(exe, needle))
        || process
            .argv
            .iter()
            .flat_map(|argv| argv.iter())
            .any(|argument| contains(argument, needle))
}

fn contains(text: &str, needle: &str) -> bool {
    text.contains(needle) || text.to_lowercase().contains(needle)
}

fn subject_of(event: &Event) -> Subject<'_> {
    let mut subject = Subject {
        words: [event.body.name(), ""],
        ..Subject::default()
    };
    match &event.body {
        Body::Socket(seen) => {
            subject.endpoints = [Some(seen.local), Some(seen.peer), None];
            subject.states = [Some(seen.state), None];
            subject.processes = [seen.process.as_deref(), None];
        }
        Body::State(change) => {
            subject.endpoints = [Some(change.local), Some(change.peer), None];
            subject.states = [Some(change.new), Some(change.old)];
            subject.processes = [change.process.as_deref(), None];
        }
        Body::TimeWaitEnter(entered) => {
            subject.endpoints = [Some(entered.local), Some(entered.peer), None];
            subject.states = [Some(State::TimeWait), None];
            subject.processes = [entered.left_by.as_deref(), None];
        }
        Body::TimeWaitExit(exited) => {
            subject.endpoints = [Some(exited.local), Some(exited.peer), None];
            subject.states = [Some(State::TimeWait), None];
        }
        Body::Reset(reset) => {
            subject.endpoints = [Some(reset.local), Some(reset.peer), None];
            subject.states = [reset.state, None];
            subject.processes = [reset.process.as_deref(), None];
            subject.words[1] = reset.reason.as_deref().unwrap_or_default();
        }
        Body::Bind(call) | Body::Listen(call) | Body::Connect(call) | Body::Accept(call) => {
            let requested = call.requested.addr.map(|addr| Endpoint {
                addr,
                port: call.requested.port,
            });
            let unspecified = Endpoint {
                addr: std::net::Ipv4Addr::UNSPECIFIED.into(),
                port: call.requested.port,
            };
            subject.endpoints = [call.local, call.peer, requested.or(Some(unspecified))];
            subject.processes = [Some(&call.process), None];
            subject.words[1] = call.errno_name.as_deref().unwrap_or_default();
        }
        Body::Diagnosis(diagnosis) => {
            let first = diagnosis.holders.first();
            subject.endpoints = [first.map(|holder| holder.local), None, None];
            subject.states = [first.map(|holder| holder.state), None];
            subject.processes = [
                first.and_then(|holder| holder.process.as_deref()),
                first.and_then(|holder| holder.left_by.as_deref()),
            ];
            subject.words[1] = &diagnosis.summary;
            subject.cause = diagnosis.cause.name();
        }
        Body::Restart(restart) => {
            subject.endpoints[0] = Some(Endpoint {
                addr: std::net::Ipv4Addr::UNSPECIFIED.into(),
                port: restart.port,
            });
            subject.processes = [
                restart.old_process.as_deref(),
                restart.new_process.as_deref(),
            ];
        }
        Body::Fallback(fallback) => {
            let first = fallback.failed.first().map(|tried| tried.port);
            let at = |port| Endpoint {
                addr: std::net::Ipv4Addr::UNSPECIFIED.into(),
                port,
            };
            subject.endpoints = [first.map(at), Some(at(fallback.took)), None];
            subject.processes[0] = Some(&fallback.process);
        }
        Body::Header(_) | Body::Loss(_) | Body::Tick(_) | Body::Footer(_) => {}
    }
    subject
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(process: &Process) -> Subject<'_> {
        Subject {
            endpoints: [
                Some(Endpoint {
                    addr: [10, 0, 0, 1].into(),
                    port: 8080,
                }),
                Some(Endpoint {
                    addr: [10, 0, 0, 2].into(),
                    port: 50_000,
                }),
                None,
            ],
            states: [Some(State::TimeWait), None],
            processes: [Some(process), None],
            ..Subject::default()
        }
    }

    #[test]
    fn each_word_of_the_language_matches_and_can_be_negated() {
        let process = Process {
            pid: 4711,
            tid: None,
            ppid: None,
            uid: 0,
            comm: "Nginx".into(),
            exe: None,
            argv: None,
            cgroup: None,
            parent: None,
            language: None,
            container: None,
            runtime: None,
            via: crate::event::KnownBy::Proc,
        };
        for (text, is_match) in [
            ("", true),
            ("port:8080", true),
            ("port:50000", true),
            ("port:8000-8100", true),
            ("port:22", false),
            ("state:time_wait", true),
            ("state:TIME-WAIT", true),
            ("state:time", true),
            ("state:listen", false),
            ("pid:4711", true),
            ("pid:1", false),
            ("comm:nginx", true),
            ("addr:10.0.0.1", true),
            ("addr:10.0.1", false),
            ("nginx", true),
            ("10.0.0.2:5", true),
            ("apache", false),
            ("port:8080 state:time_wait", true),
            ("port:8080 state:listen", false),
        ] {
            let filter = Filter::parse(text).expect(text);
            assert_eq!(filter.matches(&subject(&process)), is_match, "{text}");
            if !text.is_empty() && !text.contains(' ') {
                let negated = Filter::parse(&format!("!{text}")).expect(text);
                assert_eq!(negated.matches(&subject(&process)), !is_match, "!{text}");
            }
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_a_reason() {
        for text in [
            "port:http",
            "port:",
            "pid:x",
            "state:open",
            "!",
            "port:70000",
        ] {
            assert!(Filter::parse(text).is_err(), "{text}");
        }
    }
}
