//! Starts actors and tells them what to do.

use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use thiserror::Error;

use super::actor::{DONE, REFUSED};
use super::namespace::NamespaceError;

/// The story could not be played.
#[derive(Debug, Error)]
pub enum StageError {
    /// A process could not be started.
    #[error("cannot start a process of the demo: {0}")]
    Spawn(#[source] io::Error),
    /// A process went away.
    #[error("a process of the demo went away while it was to `{line}`: {source}")]
    Gone {
        /// What it was told.
        line: String,
        /// Why.
        source: io::Error,
    },
    /// A step failed that the story needs.
    #[error("the demo's {actor} was refused to `{line}`: {source}")]
    Refused {
        /// Who.
        actor: &'static str,
        /// What it was told.
        line: String,
        /// Why.
        source: io::Error,
    },
    /// The namespace.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
}

/// Where a story is played; belongs to the thread that is in the namespace.
pub struct Stage<'a> {
    narrate: &'a mut dyn FnMut(String),
}

impl<'a> Stage<'a> {
    /// A stage that tells the audience what happens.
    pub fn new(narrate: &'a mut dyn FnMut(String)) -> Self {
        Self { narrate }
    }

    /// Says what happens next.
    pub fn say(&mut self, text: &str) {
        (self.narrate)(text.to_owned());
    }

    /// Starts a process under a name.
    pub fn start(&mut self, name: &'static str) -> Result<Actor, StageError> {
        let mut child = Command::new("/proc/self/exe")
            .arg("__actor")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(StageError::Spawn)?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(StageError::Spawn(io::Error::other("no pipes")));
        };
        let mut actor = Actor {
            name,
            child,
            stdin: Some(stdin),
            stdout: BufReader::new(stdout),
        };
        actor.must(&format!("name {name}"))?;
        Ok(actor)
    }

    /// Lets a little time pass, so that the story can be followed.
    pub fn pause(&self, time: Duration) {
        std::thread::sleep(time);
    }
}

/// A process on the stage. Ends when dropped.
pub struct Actor {
    name: &'static str,
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Actor {
    /// Does something that the story needs to succeed.
    pub fn must(&mut self, line: &str) -> Result<(), StageError> {
        self.tries(line)?.map_err(|source| StageError::Refused {
            actor: self.name,
            line: line.to_owned(),
            source,
        })
    }

    /// Does something that may be refused; the inner error is the kernel's.
    pub fn tries(&mut self, line: &str) -> Result<Result<(), io::Error>, StageError> {
        self.ask(line).map_err(|source| StageError::Gone {
            line: line.to_owned(),
            source,
        })
    }

    fn ask(&mut self, line: &str) -> io::Result<Result<(), io::Error>> {
        let stdin = self.stdin.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        writeln!(stdin, "{line}")?;
        stdin.flush()?;
        let mut answer = String::new();
        self.stdout.read_line(&mut answer)?;
        let answer = answer.trim();
        if answer == DONE {
            return Ok(Ok(()));
        }
        match answer
            .strip_prefix(REFUSED)
            .and_then(|number| number.trim().parse().ok())
        {
            Some(number) => Ok(Err(io::Error::from_raw_os_error(number))),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Stops it as ctrl-z does. It answers no more.
    pub fn stop(&self) -> Result<(), StageError> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::STOP)
            .map_err(|errno| StageError::Spawn(errno.into()))
    }

    /// Kills the process itself; a child of it lives on until this is dropped.
    pub fn kill(&mut self) -> Result<(), StageError> {
        self.child
            .kill()
            .and_then(|()| self.child.wait())
            .map(|_| ())
            .map_err(StageError::Spawn)
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        // The end of its input ends it, and a child that shares the pipe.
        drop(self.stdin.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
