//! `unknown`: none of the other causes could be shown.

use crate::event::{Applies, Errno};

use super::CauseText;
use super::already_bound::bad_address;
use crate::diagnosis::command::Command;
use crate::diagnosis::facts::Facts;
use crate::diagnosis::fixes::fix;
use crate::diagnosis::{CallKind, text};

pub(super) fn explain(facts: &Facts<'_>, unjudged: Vec<String>) -> CauseText {
    let call = facts.call();
    let who = text::process(&call.process);
    let error = match (call.errno_name.as_deref(), call.errno) {
        (Some(name), _) => text::safe(name),
        (None, Some(number)) => format!("error {number}"),
        (None, None) => "an error that was not read".to_owned(),
    };
    let on = match (facts.failure.kind, facts.port) {
        (CallKind::Connect, _) => match call.requested.addr {
            Some(addr) => format!(
                " to {}",
                std::net::SocketAddr::new(addr, call.requested.port)
            ),
            None => String::new(),
        },
        (_, 0) => String::new(),
        (_, port) => format!(" on port {port}"),
    };
    let verb = facts.verb();
    let mut missing = facts.doubts.clone();
    missing.extend(unjudged);

    let (why, fix) = match facts.errno {
        Errno::AddrInUse => {
            missing.push("the kernel gives the same error when it runs out of memory".to_owned());
            let check = fix(
                "look_now",
                Applies::NextTime,
                "Look who has the port now, as root to see everything",
            )
            .run(facts, &Command::list_sockets(facts.port));
            ("what stood in its way could not be shown", check)
        }
        Errno::Inval if facts.failure.kind == CallKind::Listen => (
            "a socket that is or was connected cannot listen",
            fix("new_socket", Applies::Now, "Open a new socket to listen on"),
        ),
        Errno::Inval => (
            bad_address(facts).unwrap_or("the address or the state of the socket does not fit"),
            fix(
                "check_address",
                Applies::NextTime,
                "Check the address that was given",
            ),
        ),
        _ if call.errno.is_none() && call.errno_name.is_none() => {
            missing.push("the error itself".to_owned());
            let check = fix(
                "look_now",
                Applies::NextTime,
                "Read what the program says of it, and look who has the port now",
            )
            .run(facts, &Command::list_sockets(facts.port));
            ("why is not known", check)
        }
        _ => (
            "this is not about who has the port",
            fix(
                "read_error",
                Applies::NextTime,
                "Read what the error means for this call",
            )
            .run(facts, &Command::manual(verb)),
        ),
    };
    if missing.is_empty() {
        missing.push(format!("no rule explains {error} from {verb}"));
    }
    CauseText {
        summary: format!("The {verb} of {who}{on} failed with {error}: {why}."),
        fixes: vec![fix],
        doubts: missing,
    }
}

#[cfg(test)]
mod tests {
    use crate::diagnosis::test_support::Fixture;
    use crate::event::{Cause, Certainty, YesNo};

    #[test]
    fn an_address_in_use_without_holders_says_what_was_not_seen() {
        let mut fixture = Fixture::bind("0.0.0.0", 8080);
        fixture.call.seen = None;

        let diagnosis = fixture.diagnose();

        assert_eq!(diagnosis.cause, Cause::Unknown);
        assert_eq!(
            diagnosis.summary,
            "The bind of server[900] on port 8080 failed with EADDRINUSE: what stood in its way could not be shown."
        );
        assert_eq!(
            diagnosis.missing[0],
            "the sockets on the port could not be read when the call failed"
        );
        assert_eq!(diagnosis.would_work.reuseaddr, YesNo::Unknown);
        assert_eq!(diagnosis.certainty, Certainty::Unknown);
    }

    #[test]
    fn an_error_of_the_network_is_not_explained_away() {
        let diagnosis = Fixture::connect(("0.0.0.0", 0), ("10.0.0.9", 443))
            .fails(111, "ECONNREFUSED")
            .diagnose();

        assert_eq!(
            diagnosis.summary,
            "The connect of server[900] to 10.0.0.9:443 failed with ECONNREFUSED: this is not about who has the port."
        );
    }

    #[test]
    fn a_call_without_an_error_number_does_not_panic() {
        let mut fixture = Fixture::bind("0.0.0.0", 8080);
        (fixture.call.errno, fixture.call.errno_name) = (None, None);

        assert_eq!(
            fixture.diagnose().summary,
            "The bind of server[900] on port 8080 failed with an error that was not read: why is not known."
        );
    }
}
