//! The table of events: what each is called, whether the engine concludes it, and what it
//! holds. Reading, writing and the schema follow from it.
//!
//! A new event is a row here, its [`Payload`], and how it reads
//! ([`Describe`](crate::export::describe::Describe)).

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::payload::Payload;
use super::{
    Call, Diagnosis, Fallback, Flood, Footer, Header, LateHolders, Loss, Reset, Restart,
    SocketSeen, StateChange, Tick, TimeWaitEnter, TimeWaitExit,
};

macro_rules! events {
    ($d:tt $($(#[$doc:meta])* $variant:ident($payload:ty) = $name:literal, $kind:ident;)*) => {
        /// What happened.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(tag = "event")]
        pub enum Body {
            $(
                $(#[$doc])*
                #[serde(rename = $name)]
                $variant($payload),
            )*
        }

        impl Body {
            /// The `event` fields that there are, in the order of the table.
            pub const NAMES: &[&str] = &[$($name),*];

            /// The `event` field of the JSON line.
            #[must_use]
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $name,)*
                }
            }

            /// Whether the engine concluded this, so that a replay does so anew. A fact was
            /// observed.
            #[must_use]
            pub fn is_derived(&self) -> bool {
                match self {
                    $(Self::$variant(_) => events!(@is_derived $kind),)*
                }
            }

            /// Reads the payload of the event `name` from its JSON. `None`: no event of this
            /// version is called that.
            ///
            /// # Errors
            ///
            /// The JSON lacks what the event requires.
            pub(crate) fn read(name: &str, json: &[u8]) -> serde_json::Result<Option<Self>> {
                Ok(Some(match name {
                    $($name => Self::$variant(payload(json)?),)*
                    _ => return Ok(None),
                }))
            }
        }

        /// Uses what an event holds, whichever it is.
        macro_rules! for_payload {
            ($d body:expr, $d payload:ident => $d used:expr) => {
                match $d body {
                    $($d crate::event::Body::$variant($d payload) => $d used,)*
                }
            };
        }
    };
    (@is_derived fact) => { false };
    (@is_derived derived) => { true };
}

events! { $
    /// First line of every stream.
    Header(Box<Header>) = "header", fact;
    /// A socket that a snapshot found.
    Socket(SocketSeen) = "socket", fact;
    /// A socket changed its state.
    State(StateChange) = "tcp.state", fact;
    /// A port began to be held by TIME_WAIT. Derived.
    TimeWaitEnter(TimeWaitEnter) = "tcp.time_wait.enter", derived;
    /// A TIME_WAIT ended. Derived.
    TimeWaitExit(TimeWaitExit) = "tcp.time_wait.exit", derived;
    /// An RST was sent or received.
    Reset(Reset) = "tcp.reset", fact;
    /// A `bind` returned.
    Bind(Box<Call>) = "bind", fact;
    /// A `listen` returned.
    Listen(Box<Call>) = "listen", fact;
    /// A `connect` returned.
    Connect(Box<Call>) = "connect", fact;
    /// An `accept` returned: who took the connection.
    Accept(Box<Call>) = "accept", fact;
    /// Who has the holders of a failed call open, found after its diagnosis.
    Holders(Box<LateHolders>) = "holders", fact;
    /// Why a call failed. Derived.
    Diagnosis(Box<Diagnosis>) = "diagnosis", derived;
    /// A port was listened on again. Derived.
    Restart(Box<Restart>) = "restart", derived;
    /// A process that could not have a port took another one. Derived.
    Fallback(Box<Fallback>) = "fallback", derived;
    /// Failed calls of one user that were counted and not reported one by one.
    Flood(Flood) = "flood", fact;
    /// Events or sockets that could not be seen.
    Loss(Loss) = "loss", fact;
    /// Time passed.
    Tick(Tick) = "tick", fact;
    /// Last line of every stream that ended in order.
    Footer(Box<Footer>) = "footer", fact;
}

pub(crate) use for_payload;

/// Checked as text once as a whole instead of string by string.
fn payload<T: DeserializeOwned>(json: &[u8]) -> serde_json::Result<T> {
    match str::from_utf8(json) {
        Ok(text) => serde_json::from_str(text),
        Err(_) => serde_json::from_slice(json),
    }
}

impl Body {
    /// The network namespace that it is about.
    #[must_use]
    pub fn netns(&self) -> Option<u32> {
        for_payload!(self, payload => payload.netns())
    }

    /// Bytes on the heap, about. What events share counts for each of them.
    #[must_use]
    pub(crate) fn weight(&self) -> usize {
        for_payload!(self, payload => payload.weight())
    }

    /// The call, for `bind`, `listen`, `connect` and `accept`.
    #[must_use]
    pub fn call(&self) -> Option<&Call> {
        match self {
            Self::Bind(call) | Self::Listen(call) | Self::Connect(call) | Self::Accept(call) => {
                Some(call)
            }
            _ => None,
        }
    }
}
