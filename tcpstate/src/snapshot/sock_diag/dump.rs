//! All TCP sockets of a namespace, read bit by bit: a million sockets take the
//! kernel half a second, in which a reader has other things to do as well.

use zerocopy::FromZeros as _;

use super::{AF_INET, AF_INET6, ALL_STATES, DiagError, NLM_F_DUMP, SockDiag, SocketId};
use crate::snapshot::SocketItem;

/// A list that is being read.
#[derive(Debug)]
pub struct Dump {
    diag: SockDiag,
    families: std::array::IntoIter<u8, 2>,
    is_answering: bool,
}

impl Dump {
    /// Of the calling thread's namespace, `netns`; it can be read on from any
    /// other one.
    pub fn begin(netns: u32) -> Result<Self, DiagError> {
        Ok(Self {
            diag: SockDiag::open(netns)?,
            families: [AF_INET, AF_INET6].into_iter(),
            is_answering: false,
        })
    }

    /// Appends the next few hundred sockets. `false`: that was all.
    ///
    /// The kernel prepares them while it answers the call before.
    pub fn read(&mut self, sockets: &mut Vec<SocketItem>) -> Result<bool, DiagError> {
        if !self.is_answering {
            let Some(family) = self.families.next() else {
                return Ok(false);
            };
            self.diag
                .send(family, NLM_F_DUMP, ALL_STATES, SocketId::new_zeroed())?;
        }
        self.is_answering = self.diag.receive(sockets)?;
        Ok(true)
    }
}
