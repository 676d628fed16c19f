//! Puts the question together: the wish, the sockets on the port, the settings
//! of the namespace.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use super::attempt::RequestedSocket;
use super::holders::{self, Extent, PortHolders};
use crate::cli::SocketArgs;
use crate::diagnosis::{self, Environment, Question};
use crate::event::{Ancestor, Explanation, Family, Reuse, Seen, Tried};
use crate::kernel::capabilities;
use crate::snapshot::netns::{self, Namespaces};
use crate::snapshot::{ipv6, owners, proc, sysctl};

/// Asks about one port as often as wanted.
pub(in crate::commands) struct Asker {
    port: u16,
    requested: RequestedSocket,
    uid: u32,
    has_net_bind_service: bool,
    is_tried: bool,
    netns: u32,
    namespaces: Namespaces,
    environment: Environment,
    holders: PortHolders,
    device_index: Option<u32>,
    ancestors: Vec<Ancestor>,
}

impl Asker {
    /// Finds the namespace and reads what does not change between two looks.
    pub(in crate::commands) fn new(port: u16, args: &SocketArgs) -> Result<Self> {
        let Some(netns) = netns::resolve(&args.netns)? else {
            bail!(
                "a port is held in one network namespace, and `all` names none: give a name of \
                 `ip netns list`, a path such as /proc/PID/ns/net, an inode number, or `self`"
            );
        };
        let mut namespaces = Namespaces::default();
        if args.netns.contains('/') {
            namespaces.remember(netns, Path::new(&args.netns));
        }
        let (mut requested, zone) = requested(args)?;
        let sysctls = namespaces.inside(netns, sysctl::read)?;
        if requested.family == Family::Ipv6 && sysctls.bindv6only == Some(1) {
            // What a socket begins with in this namespace.
            requested.reuse.v6only = true;
        }
        let own_netns = netns::current().ok();
        let environment = Environment {
            own_netns,
            rtnetlink_inode: namespaces.inside(netns, netns::rtnetlink_inode)?,
            netns_name: (own_netns != Some(netns))
                .then(|| netns::name_of(netns))
                .flatten(),
            ..Environment::from(&sysctls)
        };
        let found = namespaces.inside(netns, || prepare(&requested, zone.as_deref()))??;
        requested.scope = found.scope;
        let own_uid = rustix::process::geteuid().as_raw();
        let uid = args.uid.unwrap_or(own_uid);
        Ok(Self {
            port,
            uid,
            has_net_bind_service: if uid == own_uid {
                capabilities::has_net_bind_service()
            } else {
                uid == 0
            },
            is_tried: false,
            netns,
            namespaces,
            environment,
            holders: PortHolders::new(netns, port, found.guide),
            device_index: found.device,
            ancestors: if proc::has_our_numbers() {
                owners::above(std::process::id())
            } else {
                Vec::new()
            },
            requested,
        })
    }

    /// Each answer is confirmed by a real bind.
    pub(in crate::commands) fn trying(self, is_tried: bool) -> Result<Self> {
        let own_uid = rustix::process::geteuid().as_raw();
        let uid = self.uid;
        if is_tried && uid != own_uid && own_uid != 0 {
            bail!("trying a bind as user {uid} needs root; leave out --try or --uid");
        }
        Ok(Self { is_tried, ..self })
    }

    /// Whether the port's bind bucket itself is read, which takes microseconds.
    pub(in crate::commands) fn walks_buckets(&self) -> bool {
        self.holders.walks_buckets()
    }

    /// Does something in the namespace that is asked about.
    pub(in crate::commands) fn inside<T: Send>(
        &mut self,
        act: impl FnOnce(u32) -> T + Send,
    ) -> Result<T> {
        let netns = self.netns;
        Ok(self.namespaces.inside(netns, || act(netns))?)
    }

    /// Asks; who has the holders open is not looked up.
    pub(in crate::commands) fn ask(&mut self) -> Result<Explanation> {
        let (seen, missing) = self.holders.read(&mut self.namespaces, Extent::Alike)?;
        self.explain(seen.as_ref(), &missing)
    }

    /// Asks, and looks up in `/proc` who has the holders open.
    pub(in crate::commands) fn ask_with_processes(&mut self) -> Result<Explanation> {
        let (seen, missing) = self.read_with_processes(Extent::Alike)?;
        self.explain(seen.as_ref(), &missing)
    }

    /// The sockets on the port with those who have them open, and what could not be seen.
    pub(in crate::commands) fn read_with_processes(
        &mut self,
        extent: Extent,
    ) -> Result<(Option<Seen>, Vec<String>)> {
        let (mut seen, mut missing) = self.holders.read(&mut self.namespaces, extent)?;
        if let Some(seen) = &mut seen {
            missing.extend(holders::name_processes(seen));
        }
        Ok((seen, missing))
    }

    fn explain(&mut self, seen: Option<&Seen>, missing: &[String]) -> Result<Explanation> {
        let tried = if self.is_tried {
            Some(self.try_it()?)
        } else {
            None
        };
        // An address can come up while somebody waits for it.
        let requested = &self.requested;
        let refused = self
            .namespaces
            .inside(self.netns, || requested.try_address())?
            .err();
        let ipv6 = match (self.requested.addr, refused) {
            (IpAddr::V6(requested), Some(Errno::ADDRNOTAVAIL)) => {
                let read = || ipv6::read(requested);
                self.namespaces.inside(self.netns, read)?
            }
            _ => None,
        };
        let name = refused.map(errno_name);
        Ok(diagnosis::explain(&Question {
            ipv6: ipv6.as_ref(),
            address_error: refused
                .zip(name.as_deref())
                .map(|(error, name)| (error.raw_os_error().unsigned_abs(), name)),
            tried: tried.as_ref(),
            ..self.question(seen, missing)
        }))
    }

    /// What is asked about the port, whatever the kernel says to the address.
    pub(in crate::commands) fn question<'a>(
        &'a self,
        seen: Option<&'a Seen>,
        missing: &'a [String],
    ) -> Question<'a> {
        Question {
            addr: self.requested.addr,
            port: self.port,
            family: self.requested.family,
            reuse: self.requested.reuse,
            device: self.device_index,
            uid: self.uid,
            netns: self.netns,
            has_net_bind_service: self.has_net_bind_service,
            ipv6: None,
            address_error: None,
            seen,
            environment: &self.environment,
            tried: None,
            missing,
            ancestors: &self.ancestors,
        }
    }

    /// A real bind, in a thread of its own: its user and namespace go with it.
    fn try_it(&mut self) -> Result<Tried> {
        let (requested, port, uid) = (&self.requested, self.port, self.uid);
        let is_other_user = rustix::process::geteuid().as_raw() != uid;
        let answer = self.namespaces.inside(self.netns, || {
            std::thread::scope(|scope| {
                scope
                    .spawn(|| {
                        if is_other_user {
                            let uid = rustix::process::Uid::from_raw(uid);
                            rustix::thread::set_thread_res_uid(uid, uid, uid)?;
                        }
                        requested.try_port(port)
                    })
                    .join()
            })
        })?;
        let answer = answer.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok(Tried {
            ok: answer.is_ok(),
            errno_name: answer.err().map(errno_name),
        })
    }
}

/// What is found out inside the namespace.
struct Prepared {
    guide: OwnedFd,
    scope: u32,
    device: Option<u32>,
}

fn prepare(requested: &RequestedSocket, zone: Option<&str>) -> Result<Prepared> {
    let guide = socket_with(
        AddressFamily::INET,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )
    .context("cannot make a socket in the network namespace")?;
    let index = |name: &str| {
        rustix::net::netdevice::name_to_index(&guide, name)
            .with_context(|| format!("there is no interface `{name}` in this network namespace"))
    };
    let scope = zone.map_or(Ok(0), index)?;
    let device = requested.device.as_deref().map(index).transpose()?;
    Ok(Prepared {
        scope,
        // A link-local address binds the socket to its interface.
        device: device.or((scope != 0).then_some(scope)),
        guide,
    })
}

/// What the arguments ask for, and the zone of a link-local address.
fn requested(args: &SocketArgs) -> Result<(RequestedSocket, Option<String>)> {
    let (addr, zone) = match args.addr.as_deref() {
        None => (None, None),
        Some(text) => {
            let (addr, zone) = match text.split_once('%') {
                Some((addr, zone)) => (addr, Some(zone.to_owned())),
                None => (text, None),
            };
            let addr: IpAddr = addr.parse().with_context(|| {
                format!("`{text}` is not an IP address; write 127.0.0.1, ::1 or fe80::1%eth0")
            })?;
            (Some(addr), zone)
        }
    };
    let is_ipv6 = args.is_ipv6 || matches!(addr, Some(IpAddr::V6(_)));
    if args.is_v6only && !is_ipv6 {
        bail!("--v6only is an option of IPv6 sockets: add --ipv6, or give an IPv6 address");
    }
    let (family, addr) = match (is_ipv6, addr) {
        (false, addr) => (Family::Ipv4, addr.unwrap_or(Ipv4Addr::UNSPECIFIED.into())),
        // An IPv6 socket writes an IPv4 address like this.
        (true, Some(IpAddr::V4(v4))) => (Family::Ipv6, v4.to_ipv6_mapped().into()),
        (true, addr) => (Family::Ipv6, addr.unwrap_or(Ipv6Addr::UNSPECIFIED.into())),
    };
    let requested = RequestedSocket {
        addr,
        scope: 0,
        family,
        reuse: Reuse {
            reuseaddr: args.is_reuseaddr,
            reuseport: args.is_reuseport,
            v6only: args.is_v6only,
        },
        device: args.device.clone(),
    };
    Ok((requested, zone))
}

/// `EADDRINUSE`.
fn errno_name(error: Errno) -> Arc<str> {
    crate::kernel::errno_name(error.raw_os_error().unsigned_abs())
}
