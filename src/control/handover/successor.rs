//! The side of the old process: it starts the new one, and waits for its word.
//!
//! All of it happens on a thread of its own, which may block; the control thread only asks how it
//! went.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;
use tokio::sync::oneshot;

use super::section::Section;
use super::sockets::Offer;
use super::{VARIABLE, VERSION, name};
use crate::telemetry::HandOverOutcome;

/// How long a process that has hung up may take to end by itself, so that its exit status can be
/// told.
const FAREWELL: Duration = Duration::from_secs(1);
const FAREWELL_TICK: Duration = Duration::from_millis(5);

/// What systemd said to this process, and not to the next: its sockets come from here, and it is
/// under the same watchdog with another PID.
const NOT_FOR_CHILDREN: [&str; 4] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID"];

/// A hand-over under way.
pub(crate) struct HandOver {
    outcome: oneshot::Receiver<Result<u32, Failure>>,
    link: UnixStream,
    cancelled: Arc<AtomicBool>,
}

/// Why the old process goes on.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) outcome: HandOverOutcome,
    pub(crate) why: String,
}

impl HandOver {
    /// Starts the new process. It may take `limit` until it is ready.
    /// `last` is asked for what changes up to the moment in which the new process begins.
    pub(crate) fn start(
        offer: Offer,
        state: Vec<Section>,
        last: impl FnOnce() -> String + Send + 'static,
        limit: Duration,
    ) -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        let link = ours.try_clone()?;
        SockRef::from(&theirs).set_cloexec(false)?;
        let mut command = own_program()?;
        command.env(VARIABLE, theirs.as_raw_fd().to_string());
        for variable in NOT_FOR_CHILDREN {
            command.env_remove(variable);
        }
        let cancelled = Arc::<AtomicBool>::default();
        let (sender, outcome) = oneshot::channel();
        let asked_to_end = Arc::clone(&cancelled);
        thread::Builder::new().name("hand-over".into()).spawn(move || {
            let spawned = command.spawn();
            let list = Section::new(name::SOCKETS, offer.list());
            // The new process has its own now; an end of the link that stayed here would hide
            // that it has hung up.
            drop((offer, theirs));
            let outcome = match spawned {
                Ok(child) => {
                    let link = Link { stream: ours, until: Instant::now() + limit, limit };
                    Successor { child, link, cancelled: asked_to_end }.take_over(list, state, last)
                }
                Err(error) => Err(Failure {
                    outcome: HandOverOutcome::NotStarted,
                    why: format!("{} cannot be started: {error}", shown(&command)),
                }),
            };
            // Nobody waits for it any more when the process ends.
            let _ = sender.send(outcome);
        })?;
        Ok(Self { outcome, link, cancelled })
    }

    /// The PID of the new process once it accepts on every listener.
    pub(crate) async fn outcome(&mut self) -> Result<u32, Failure> {
        (&mut self.outcome).await.unwrap_or_else(|_| {
            let why = "the thread that waited for the new process has ended".to_owned();
            Err(Failure { outcome: HandOverOutcome::Ended, why })
        })
    }

    /// Ends the new process, unless it has taken over already.
    pub(crate) async fn cancel(mut self) -> Result<u32, Failure> {
        self.cancelled.store(true, Ordering::Relaxed);
        // Ends the read that the thread waits in; the new process notices nothing.
        let _ = self.link.shutdown(Shutdown::Read);
        self.outcome().await
    }
}

/// This program, as it was started: a file that was replaced meanwhile is the new one.
fn own_program() -> io::Result<Command> {
    let mut arguments = std::env::args_os();
    let program = match arguments.next().filter(|name| !name.is_empty()) {
        Some(name) => name,
        None => OsString::from(std::env::current_exe()?),
    };
    let mut command = Command::new(program);
    command.args(arguments);
    Ok(command)
}

fn shown(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}

/// The new process, as the thread sees it.
struct Successor {
    child: Child,
    link: Link,
    cancelled: Arc<AtomicBool>,
}

impl Successor {
    /// Goes through the whole conversation. A process that does not become ready is killed.
    fn take_over(
        mut self,
        sockets: Section,
        state: Vec<Section>,
        last: impl FnOnce() -> String,
    ) -> Result<u32, Failure> {
        match self.converse(sockets, state, last) {
            Ok(()) => Ok(self.child.id()),
            Err(broken) => Err(self.fail(broken)),
        }
    }

    fn converse(
        &mut self,
        sockets: Section,
        state: Vec<Section>,
        last: impl FnOnce() -> String,
    ) -> Result<(), Broken> {
        let opening = [Section::new(name::VERSION, VERSION), sockets];
        let closing = [Section::new(name::END, "")];
        for section in opening.iter().chain(&state).chain(&closing) {
            self.link.write(section)?;
        }
        self.link.expect(name::PREPARED)?;
        if self.cancelled.load(Ordering::Relaxed) {
            return Err(Broken::HungUp);
        }
        self.link.write(&Section::new(name::GO, last()))?;
        self.link.expect(name::READY)
    }

    fn fail(&mut self, broken: Broken) -> Failure {
        let cancelled = self.cancelled.load(Ordering::Relaxed);
        let status = match broken {
            Broken::HungUp if !cancelled => self.farewell(),
            _ => None,
        };
        // It may have ended by itself; then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let (outcome, why) = match (broken, status) {
            _ if cancelled => (HandOverOutcome::Cancelled, "it was called off".to_owned()),
            (Broken::Refused(why), _) => (HandOverOutcome::Refused, format!("it says: {why}")),
            (Broken::TimedOut(limit), _) => {
                (HandOverOutcome::TimedOut, format!("it was not ready after {limit:?}"))
            }
            (Broken::HungUp, Some(status)) => {
                (HandOverOutcome::Ended, format!("it ended before it was ready: {status}"))
            }
            (Broken::HungUp, None) => {
                (HandOverOutcome::Ended, "it broke off the conversation".to_owned())
            }
            (Broken::Garbled(what), _) => (HandOverOutcome::Ended, what),
        };
        Failure { outcome, why }
    }

    /// How a process that has hung up ends, if it does.
    fn farewell(&mut self) -> Option<ExitStatus> {
        let until = Instant::now() + FAREWELL;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return Some(status),
                Ok(None) if Instant::now() < until => thread::park_timeout(FAREWELL_TICK),
                _ => return None,
            }
        }
    }
}

/// Why the conversation ended early.
enum Broken {
    Refused(String),
    HungUp,
    TimedOut(Duration),
    Garbled(String),
}

/// The old process's end of the pair, and until when it listens.
struct Link {
    stream: UnixStream,
    until: Instant,
    limit: Duration,
}

impl Link {
    fn write(&mut self, section: &Section) -> Result<(), Broken> {
        self.stream.set_write_timeout(Some(self.left()?)).map_err(|error| self.broken(&error))?;
        section.write(&mut self.stream).map_err(|error| self.broken(&error))
    }

    /// Reads on until the section of that name.
    fn expect(&mut self, wanted: &str) -> Result<(), Broken> {
        loop {
            self.stream
                .set_read_timeout(Some(self.left()?))
                .map_err(|error| self.broken(&error))?;
            let section = Section::read(&mut self.stream).map_err(|error| self.broken(&error))?;
            match section.name.as_str() {
                name if name == wanted => return Ok(()),
                name::REFUSED => return Err(Broken::Refused(section.text())),
                _ => {}
            }
        }
    }

    fn left(&self) -> Result<Duration, Broken> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(Broken::TimedOut(self.limit)) } else { Ok(left) }
    }

    fn broken(&self, error: &io::Error) -> Broken {
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Broken::TimedOut(self.limit),
            ErrorKind::InvalidData => Broken::Garbled("it speaks another language".to_owned()),
            _ => Broken::HungUp,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}
