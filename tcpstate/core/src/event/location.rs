//! Where a call was made, seen from where the observer is: commands that are
//! run elsewhere meet other sockets, settings and services.
//!
//! Names are as they were read; who shows them makes them harmless.

use std::fmt;

use super::call::Call;
use super::socket::Process;

/// Digits of a container's id that are shown, as its own tools do.
const ID_DIGITS: usize = 12;
/// Digits of a whole one.
const WHOLE_ID: usize = 64;

/// A network namespace that is not the observer's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForeignNetns<'a> {
    /// Name that `ip netns` has for it.
    pub name: Option<&'a str>,
    /// Its inode number.
    pub inode: u32,
}

impl<'a> ForeignNetns<'a> {
    /// The namespace, unless it is `own`. Which one is its own, an observer may
    /// not know; a name is only noted for others.
    #[must_use]
    pub fn of(inode: u32, name: Option<&'a str>, own: Option<u32>) -> Option<Self> {
        let is_foreign = own.map_or(name.is_some(), |own| own != inode);
        (is_foreign && inode != 0).then_some(Self { name, inode })
    }
}

impl fmt::Display for ForeignNetns<'_> {
    /// `netns blue`, `netns 4026532177`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name {
            Some(name) => write!(f, "netns {name}"),
            None => write!(f, "netns {}", self.inode),
        }
    }
}

/// A container, as its control group names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Container<'a> {
    id: &'a str,
    runtime: Option<&'a str>,
    /// Not root made the control group: its name is a claim.
    is_claimed: bool,
}

impl fmt::Display for Container<'_> {
    /// `in docker container 0123456789ab`, `calls itself container web`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.is_claimed, self.runtime) {
            (true, _) => write!(f, "calls itself container {}", self.id),
            (false, Some(runtime)) => write!(f, "in {runtime} container {}", self.id),
            (false, None) => write!(f, "in container {}", self.id),
        }
    }
}

impl Process {
    /// The container that it is in, or says that it is in.
    #[must_use]
    pub fn in_container(&self) -> Option<Container<'_>> {
        let id = self.container.as_deref()?;
        Some(Container {
            id: short_id(id),
            runtime: self.runtime.as_deref(),
            is_claimed: self.container_uid.is_some_and(|uid| uid != 0),
        })
    }
}

impl Call {
    /// The network namespace that it was made in, unless that is `own`, the
    /// observer's.
    #[must_use]
    pub fn foreign_netns(&self, own: Option<u32>) -> Option<ForeignNetns<'_>> {
        ForeignNetns::of(self.sock?.netns, self.netns_name.as_deref(), own)
    }
}

/// `in netns blue, in docker container 0123456789ab`; `None`: it was made where
/// the observer is, as far as is known.
#[must_use]
pub fn location(netns: Option<ForeignNetns<'_>>, caller: &Process) -> Option<String> {
    let netns = netns.map(|netns| format!("in {netns}"));
    let container = caller.in_container().map(|container| container.to_string());
    match (netns, container) {
        (Some(netns), Some(container)) => Some(format!("{netns}, {container}")),
        (netns, container) => netns.or(container),
    }
}

fn short_id(id: &str) -> &str {
    let is_whole = id.len() == WHOLE_ID && id.bytes().all(|digit| digit.is_ascii_hexdigit());
    if is_whole { &id[..ID_DIGITS] } else { id }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::KnownBy;

    const OWN: Option<u32> = Some(4_026_531_992);

    fn described(
        netns: Option<ForeignNetns<'_>>,
        container: Option<(&str, Option<u32>)>,
    ) -> String {
        let mut caller = Process::new(1, 0, "nginx", KnownBy::Syscall);
        if let Some((id, made_by)) = container {
            caller.container = Some(id.into());
            caller.runtime = Some("docker".into());
            caller.container_uid = made_by;
        }
        location(netns, &caller).unwrap_or_default()
    }

    #[test]
    fn only_another_namespace_than_our_own_is_named() {
        let of = |inode, name, own| described(ForeignNetns::of(inode, name, own), None);

        assert_eq!(of(4_026_531_992, None, OWN), "");
        assert_eq!(of(4_026_532_177, None, OWN), "in netns 4026532177");
        assert_eq!(of(4_026_532_177, Some("blue"), OWN), "in netns blue");
        // Recordings from before the header knew.
        assert_eq!(of(4_026_532_177, None, None), "");
        assert_eq!(of(4_026_532_177, Some("blue"), None), "in netns blue");
        assert_eq!(of(0, None, OWN), "");
    }

    #[test]
    fn a_container_is_one_for_certain_only_if_root_made_it() {
        let id = "0123456789ab".to_owned() + &"cd".repeat(26);
        let of = |made_by| described(None, Some((&id, made_by)));

        assert_eq!(of(Some(0)), "in docker container 0123456789ab");
        assert_eq!(of(Some(1000)), "calls itself container 0123456789ab");
        assert_eq!(of(None), "in docker container 0123456789ab");
        let odd = "é".repeat(32);
        assert_eq!(
            described(
                ForeignNetns::of(7, Some("blue"), OWN),
                Some((&odd, Some(0)))
            ),
            format!("in netns blue, in docker container {odd}")
        );
    }
}
