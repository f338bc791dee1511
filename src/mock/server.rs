//! The mock's threads: started together, stopped together.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::connection::Connection;
use crate::net::listener::{self, Listener};
use crate::runtime::core::Core;
use crate::runtime::mailbox::Mailbox;
use crate::runtime::probe::{self, Chosen, Wanted};
use crate::runtime::thread;

/// How the mock behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// Port 0 takes a free one.
    pub bind: SocketAddr,
    /// Threads; without a number, one for each CPU that this process may use.
    pub workers: Option<usize>,
    pub io: Wanted,
    /// From the request to the first LLM token.
    pub first_token: Duration,
    /// From one LLM token to the next.
    pub between_tokens: Duration,
    /// LLM tokens of an answer that the request does not limit.
    pub tokens: usize,
}

impl Default for Options {
    /// On a free port of this machine, as fast as it can.
    fn default() -> Self {
        Self {
            bind: SocketAddr::from(([127, 0, 0, 1], 0)),
            workers: None,
            io: Wanted::Any,
            first_token: Duration::ZERO,
            between_tokens: Duration::ZERO,
            tokens: 20,
        }
    }
}

/// A mock that runs until it is stopped or dropped.
pub struct Running {
    /// Where it listens.
    pub addr: SocketAddr,
    workers: Vec<Worker>,
    connections: Arc<AtomicUsize>,
}

struct Worker {
    stop: Arc<Mailbox<Stop>>,
    thread: JoinHandle<io::Result<()>>,
}

struct Stop;

/// Starts the mock. It accepts connections when this returns.
///
/// # Errors
///
/// The address is taken or not ours, no wanted driver works, or a thread cannot be started.
pub fn start(options: &Options) -> io::Result<Running> {
    let chosen = probe::choose(options.io)?.chosen;
    let cpus = thread::allowed_cpus();
    let count = options.workers.unwrap_or(cpus.len()).max(1);
    if listener::is_taken(options.bind) {
        return Err(io::ErrorKind::AddrInUse.into());
    }
    let sockets = listener::bind(options.bind, count)?;
    let addr = sockets.first().map_or(Ok(options.bind), listener::local_address)?;
    let mut running =
        Running { addr, workers: Vec::with_capacity(count), connections: Arc::default() };
    for (index, socket) in sockets.into_iter().enumerate() {
        // More workers than CPUs share them.
        let cpu = cpus.get(index % cpus.len().max(1)).copied();
        running.start_worker(index, cpu, chosen, socket, options.clone())?;
    }
    Ok(running)
}

impl Running {
    fn start_worker(
        &mut self,
        index: usize,
        cpu: Option<usize>,
        chosen: Chosen,
        socket: OwnedFd,
        options: Options,
    ) -> io::Result<()> {
        let stop = Arc::new(Mailbox::new(1));
        let connections = Arc::clone(&self.connections);
        let prepare = {
            let stop = Arc::clone(&stop);
            move |core: &Rc<Core>| {
                core.spawn(wait_for_end(Rc::clone(core), stop));
                core.spawn(accept(Rc::clone(core), socket, Rc::new(options), connections));
            }
        };
        let thread = thread::start(index, cpu, chosen, Arc::default(), prepare)?;
        self.workers.push(Worker { stop, thread });
        Ok(())
    }

    /// Connections that are open at this moment.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Ends every connection and thread, and waits for that.
    ///
    /// # Errors
    ///
    /// Why a worker had ended already.
    pub fn stop(mut self) -> io::Result<()> {
        self.end()
    }

    fn end(&mut self) -> io::Result<()> {
        for worker in &self.workers {
            // A full mailbox holds the same message.
            let _ = worker.stop.send(Stop);
        }
        let mut outcome = Ok(());
        for worker in self.workers.drain(..) {
            let ended = worker.thread.join();
            outcome =
                outcome.and(ended.unwrap_or_else(|_| Err(io::Error::other("a worker panicked"))));
        }
        outcome
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            tracing::error!(%error, "a worker of the mock had ended");
        }
    }
}

async fn wait_for_end(core: Rc<Core>, stop: Arc<Mailbox<Stop>>) {
    let Stop = stop.receive().await;
    core.stop();
}

async fn accept(
    core: Rc<Core>,
    socket: OwnedFd,
    options: Rc<Options>,
    connections: Arc<AtomicUsize>,
) {
    let serve = |fd, _| match Connection::new(&core, fd, &options) {
        Ok(connection) => {
            let open = Open::count(&connections);
            core.spawn(async move {
                let _open = open;
                connection.serve().await;
            });
        }
        Err(error) => tracing::warn!(%error, "cannot watch an accepted connection"),
    };
    let outcome = match Listener::new(&core, socket) {
        Ok(listener) => listener.accept_each(|| true, serve).await,
        Err(error) => Err(error),
    };
    if let Err(error) = outcome {
        tracing::error!(%error, "the mock's listening socket broke");
        core.stop();
    }
}

/// Counts one connection until it is dropped.
struct Open(Arc<AtomicUsize>);

impl Open {
    fn count(connections: &Arc<AtomicUsize>) -> Self {
        connections.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(connections))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
