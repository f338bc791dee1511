//! The side of the new process: what it is given, and what it says.

use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::section::Section;
use super::sockets::{Entry, Role};
use super::{VARIABLE, VERSION, name};
use crate::control::os;

/// How long the old process may take to say a word. It answers at once or not at all.
const PATIENCE: Duration = Duration::from_secs(10);

/// The process that hands over to this one.
pub struct Predecessor {
    link: UnixStream,
}

/// What it leaves.
#[derive(Default)]
pub(in crate::control) struct Estate {
    pub(in crate::control) sockets: Vec<(Role, OwnedFd)>,
    /// What is to be carried on, under names; some may be unknown here.
    pub(in crate::control) state: Vec<Section>,
}

impl Predecessor {
    /// The process that started this one in order to hand over, if one did.
    ///
    /// # Errors
    ///
    /// The environment says so, and it is not true.
    pub(in crate::control) fn find() -> Result<Option<Self>, String> {
        let Ok(number) = std::env::var(VARIABLE) else { return Ok(None) };
        let no_link = |cause: &dyn std::fmt::Display| {
            format!("{VARIABLE}={number} leads to no process that hands over: {cause}; unset it")
        };
        let descriptor = number.parse().map_err(|error| no_link(&error))?;
        let descriptor = os::inherited(descriptor).map_err(|error| no_link(&error))?;
        let link = UnixStream::from(descriptor);
        link.set_read_timeout(Some(PATIENCE)).map_err(|error| no_link(&error))?;
        link.set_write_timeout(Some(PATIENCE)).map_err(|error| no_link(&error))?;
        Ok(Some(Self { link }))
    }

    /// Takes what the old process leaves. To be called once.
    pub(in crate::control) fn estate(&mut self) -> Result<Estate, String> {
        let mut estate = Estate::default();
        loop {
            let section = Section::read(&mut self.link)
                .map_err(|error| format!("the old process breaks off: {error}"))?;
            match section.name.as_str() {
                name::VERSION if section.bytes != VERSION.as_bytes() => {
                    return Err(format!(
                        "the old process hands over in version {}, this one knows {VERSION}; \
                         stop it and start this one",
                        section.text()
                    ));
                }
                name::VERSION => {}
                name::SOCKETS => estate.sockets = take_sockets(&section.text())?,
                name::END => return Ok(estate),
                _ => estate.state.push(section),
            }
        }
    }

    /// Says that everything is there, and waits for the word to begin; with it comes what changed
    /// up to that moment.
    ///
    /// An old process that has gone meanwhile leaves its sockets to this one all the same.
    ///
    /// # Errors
    ///
    /// The old process does not answer. Its sockets are its own then.
    pub(in crate::control) fn await_go(&mut self) -> Result<String, String> {
        let answer = Section::new(name::PREPARED, "")
            .write(&mut self.link)
            .and_then(|()| Section::read(&mut self.link));
        match answer {
            Ok(section) if section.name == name::GO => Ok(section.text()),
            Ok(section) => Err(format!("the old process says {:?} for go", section.name)),
            Err(error) if has_gone(&error) => {
                tracing::warn!("the old process has gone; going on without it");
                Ok(String::new())
            }
            Err(error) => Err(format!("the old process does not answer: {error}")),
        }
    }

    /// Says that this process accepts: the old one may rest.
    pub(in crate::control) fn say_ready(mut self) {
        if let Err(error) = Section::new(name::READY, "").write(&mut self.link) {
            tracing::warn!(%error, "cannot tell the old process that this one is ready");
        }
    }

    /// Says why this process does not take over.
    pub fn refuse(mut self, why: &str) {
        // If nobody listens, standard error has the words as well.
        let _ = Section::new(name::REFUSED, why).write(&mut self.link);
    }
}

fn has_gone(error: &io::Error) -> bool {
    use ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | BrokenPipe | ConnectionReset)
}

fn take_sockets(list: &str) -> Result<Vec<(Role, OwnedFd)>, String> {
    let take = |line: &str| {
        let Entry { descriptor, role } = line.parse()?;
        let socket = os::inherited(descriptor)
            .map_err(|error| format!("the socket {line:?} has not come along: {error}"))?;
        Ok((role, socket))
    };
    list.lines().map(take).collect()
}
