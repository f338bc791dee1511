//! Listening sockets that this process was started with: from a process that hands over to it, or
//! from systemd.
//!
//! What waits in the queue of such a socket was accepted by the kernel before this process began;
//! adopting the socket instead of opening the address anew is what keeps it.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use socket2::SockRef;

use super::handover::{Predecessor, Role, Section};
use super::systemd;
use crate::net::listener;
use crate::proxy::settings;

/// All that was there before this process began.
#[derive(Default)]
pub struct Inheritance {
    predecessor: Option<Predecessor>,
    sockets: Vec<Inherited>,
    state: Vec<Section>,
}

/// A listening socket with what is known of it.
struct Inherited {
    socket: OwnedFd,
    /// What it is bound to.
    address: SocketAddr,
    tag: Tag,
}

enum Tag {
    Role(Role),
    /// The name that systemd has for it.
    Name(String),
}

impl Inherited {
    fn new(socket: OwnedFd, tag: Tag) -> Result<Self, String> {
        let known = SockRef::from(&socket);
        let is_listening = known.is_listener().unwrap_or(false);
        match listener::local_address(&socket) {
            Ok(address) if is_listening => {
                known.set_nonblocking(true).map_err(|error| error.to_string())?;
                Ok(Self { socket, address, tag })
            }
            _ => Err("it is no TCP socket that listens".to_owned()),
        }
    }

    fn is_for(&self, wanted: &settings::Listener) -> bool {
        let is_meant = match &self.tag {
            // The kernel chose the port, so the address alone cannot tell.
            Tag::Role(Role::Listener { name, bind }) => {
                *bind == wanted.bind && (bind.port() != 0 || *name == wanted.name)
            }
            Tag::Role(Role::Admin { .. }) => return false,
            Tag::Name(name) => *name == wanted.name,
        };
        is_meant || self.address == wanted.bind
    }

    fn is_for_admin(&self, wanted: SocketAddr) -> bool {
        match &self.tag {
            Tag::Role(Role::Admin { bind }) => *bind == wanted || self.address == wanted,
            Tag::Role(Role::Listener { .. }) => false,
            Tag::Name(_) => self.address == wanted,
        }
    }
}

impl Inheritance {
    /// Takes what there is. To be called first of all, before anything else is opened.
    ///
    /// # Errors
    ///
    /// What was announced is not there, in words for the operator. A process that wanted to hand
    /// over knows by then.
    pub fn take() -> Result<Self, String> {
        let Some(mut predecessor) = Predecessor::find()? else {
            let sockets = systemd::sockets()?.into_iter().map(|(name, socket)| {
                let inherited = Inherited::new(socket, Tag::Name(name.clone()));
                inherited.map_err(|why| {
                    format!(
                        "systemd passes the socket \"{name}\", but {why}; \
                         a socket unit needs ListenStream= with an IP address and Accept=no"
                    )
                })
            });
            return Ok(Self { sockets: sockets.collect::<Result<_, _>>()?, ..Self::default() });
        };
        match from(&mut predecessor) {
            Ok((sockets, state)) => Ok(Self { predecessor: Some(predecessor), sockets, state }),
            Err(why) => {
                predecessor.refuse(&why);
                Err(why)
            }
        }
    }

    /// Tells the process that wanted to hand over, if there is one, why this one cannot start.
    pub fn refuse(&mut self, why: &str) {
        if let Some(predecessor) = self.predecessor.take() {
            predecessor.refuse(why);
        }
    }

    /// Waits for the word of the process that hands over, if there is one, to begin. With it comes
    /// what its limits know.
    pub(super) fn await_go(&mut self) -> Result<String, String> {
        self.predecessor.as_mut().map_or(Ok(String::new()), Predecessor::await_go)
    }

    /// Says that this process accepts; `false` if there is nobody to tell.
    pub(super) fn say_ready(&mut self) -> bool {
        self.predecessor.take().map(Predecessor::say_ready).is_some()
    }

    /// What the process that hands over has to carry on under `name`.
    pub(super) fn state(&self, name: &str) -> Option<&[u8]> {
        let section = self.state.iter().find(|section| section.name == name);
        section.map(|section| &*section.bytes)
    }

    /// The sockets of this listener, all of them: each has a queue in which somebody may wait.
    pub(super) fn claim(&mut self, wanted: &settings::Listener) -> Vec<OwnedFd> {
        let claimed = self.sockets.extract_if(.., |inherited| inherited.is_for(wanted));
        claimed.map(|inherited| inherited.socket).collect()
    }

    /// The socket of the admin server.
    pub(super) fn claim_admin(&mut self, bind: SocketAddr) -> Option<OwnedFd> {
        let found = self.sockets.iter().position(|inherited| inherited.is_for_admin(bind))?;
        Some(self.sockets.swap_remove(found).socket)
    }

    /// Whether a socket that nobody has claimed holds this port. It was opened by this program, on
    /// another of the host's addresses, and is about to be closed.
    pub(super) fn holds_port(&self, port: u16) -> bool {
        self.sockets.iter().any(|inherited| inherited.address.port() == port)
    }

    /// Closes what nobody has claimed, and says what that was.
    pub(super) fn close_unclaimed(&mut self) -> Vec<SocketAddr> {
        let mut addresses: Vec<_> = self.sockets.drain(..).map(|i| i.address).collect();
        addresses.dedup();
        addresses
    }
}

fn from(predecessor: &mut Predecessor) -> Result<(Vec<Inherited>, Vec<Section>), String> {
    let estate = predecessor.estate()?;
    let known = estate.sockets.into_iter().map(|(role, socket)| {
        Inherited::new(socket, Tag::Role(role))
            .map_err(|why| format!("a socket came along, but {why}"))
    });
    Ok((known.collect::<Result<_, _>>()?, estate.state))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn wanted(name: &str, bind: &str) -> settings::Listener {
        let file = format!("[[listener]]\nname = \"{name}\"\nbind = \"{bind}\"\n");
        let loaded = config::from_str("test.toml", &file, &|_| None).unwrap();
        loaded.settings.listeners.into_iter().next().unwrap()
    }

    fn inherited(tag: Tag) -> Inherited {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        Inherited::new(socket.into(), tag).unwrap()
    }

    fn of_listener(name: &str, bind: &str) -> Inherited {
        let bind = bind.parse().unwrap();
        inherited(Tag::Role(Role::Listener { name: name.to_owned(), bind }))
    }

    #[test]
    fn a_socket_is_found_by_the_address_that_was_configured() {
        let socket = of_listener("public", "0.0.0.0:80");
        assert!(socket.is_for(&wanted("public", "0.0.0.0:80")));
        assert!(socket.is_for(&wanted("renamed", "0.0.0.0:80")));
        assert!(!socket.is_for(&wanted("public", "0.0.0.0:81")));
    }

    #[test]
    fn a_socket_with_a_port_of_the_kernel_is_found_by_its_name_or_its_port() {
        let socket = of_listener("public", "127.0.0.1:0");
        assert!(socket.is_for(&wanted("public", "127.0.0.1:0")));
        assert!(!socket.is_for(&wanted("other", "127.0.0.1:0")));
        assert!(socket.is_for(&wanted("other", &socket.address.to_string())));
    }

    #[test]
    fn a_socket_of_systemd_is_found_by_its_name_or_its_address() {
        let socket = inherited(Tag::Name("public".into()));
        assert!(socket.is_for(&wanted("public", "0.0.0.0:80")));
        assert!(socket.is_for(&wanted("other", &socket.address.to_string())));
        assert!(!socket.is_for(&wanted("other", "0.0.0.0:80")));
        assert!(socket.is_for_admin(socket.address));
    }

    #[test]
    fn all_sockets_of_a_listener_are_claimed_and_the_others_are_left() {
        let sockets = ["a", "b", "a"].map(|name| of_listener(name, "127.0.0.1:0"));
        let mut inheritance = Inheritance { sockets: sockets.into(), ..Inheritance::default() };
        assert_eq!(inheritance.claim(&wanted("a", "127.0.0.1:0")).len(), 2);
        assert_eq!(inheritance.claim(&wanted("a", "127.0.0.1:0")).len(), 0);
        assert_eq!(inheritance.close_unclaimed().len(), 1);
    }

    #[test]
    fn a_socket_that_does_not_listen_is_refused() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(Inherited::new(socket.into(), Tag::Name("udp".into())).is_err());
    }
}
