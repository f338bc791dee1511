//! Which descriptor is whose: the list that goes with the listening sockets.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::str::FromStr;

use socket2::SockRef;

/// What a listening socket is for. Addresses are as configured, so a port may be 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    Listener { name: String, bind: SocketAddr },
    Admin { bind: SocketAddr },
}

/// Copies of listening sockets that cross the next exec.
#[derive(Default)]
pub struct Offer {
    sockets: Vec<OwnedFd>,
    list: String,
}

impl Offer {
    /// Adds a copy of `socket`.
    pub fn add(&mut self, role: &Role, socket: &OwnedFd) -> io::Result<()> {
        let copy = socket.try_clone()?;
        SockRef::from(&copy).set_cloexec(false)?;
        let entry = Entry { descriptor: copy.as_raw_fd(), role: role.clone() };
        self.list += &format!("{entry}\n");
        self.sockets.push(copy);
        Ok(())
    }

    /// The sockets, one a line.
    pub(super) fn list(&self) -> &str {
        &self.list
    }
}

/// A line of the list.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) descriptor: RawFd,
    pub(super) role: Role,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.role {
            // Names have no spaces.
            Role::Listener { name, bind } => {
                write!(f, "{} listener {bind} {name}", self.descriptor)
            }
            Role::Admin { bind } => write!(f, "{} admin {bind}", self.descriptor),
        }
    }
}

impl FromStr for Entry {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let words: Vec<&str> = line.split(' ').collect();
        let (descriptor, bind, role) = match words[..] {
            [descriptor, "listener", bind, name] => (descriptor, bind, Some(name)),
            [descriptor, "admin", bind] => (descriptor, bind, None),
            _ => return Err(format!("{line:?} names no socket")),
        };
        let unreadable = |_| format!("{line:?} names no socket");
        let descriptor = descriptor.parse().map_err(|_| format!("{line:?} names no socket"))?;
        let bind = bind.parse().map_err(unreadable)?;
        let role = match role {
            Some(name) => Role::Listener { name: name.to_owned(), bind },
            None => Role::Admin { bind },
        };
        Ok(Self { descriptor, role })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_read_as_it_was_written() {
        let bind = "[::1]:0".parse().unwrap();
        for role in [Role::Listener { name: "a-b.c_d".into(), bind }, Role::Admin { bind }] {
            let entry = Entry { descriptor: 17, role };
            assert_eq!(entry.to_string().parse(), Ok(entry));
        }
    }

    #[test]
    fn what_is_no_entry_is_refused() {
        for line in ["", "3", "x admin 127.0.0.1:1", "3 admin 127.0.0.1", "3 other 127.0.0.1:1"] {
            assert!(line.parse::<Entry>().is_err(), "{line:?}");
        }
    }
}
