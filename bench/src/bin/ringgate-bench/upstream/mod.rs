//! The upstream of every scenario: HTTP/1.1 on one thread, with as little work as possible.
//!
//! | request | reply |
//! |---|---|
//! | `GET /bytes/N` | N bytes, at most [`reply::BYTES_MAX`] |
//! | `GET /echo` | the request head, so that a check can see what a gateway made of it |
//! | `GET /events` | an event each [`schedule::INTERVAL`] until the client goes |
//! | `POST ...` | a chat completion of 1 KiB |

mod connection;
mod reply;
mod request;
mod schedule;
#[cfg(test)]
mod tests;

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use crate::poll::{Interest, Poll, Timer, monotonic_ns};
use connection::{Connection, Progress};
use schedule::Schedule;

/// Tokens that are not slots of connections.
const LISTENER: usize = usize::MAX;
const TIMER: usize = usize::MAX - 1;

struct Upstream {
    poll: Poll,
    listener: TcpListener,
    timer: Timer,
    schedule: Schedule,
    /// By token. A slot is used again after its connection has gone.
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
}

/// Prints `ready PORT` when it accepts, then serves until the process is ended. Port 0 is any.
pub(crate) fn serve(port: u16) -> io::Result<()> {
    let mut upstream = Upstream::bind(port)?;
    println!("ready {}", upstream.listener.local_addr()?.port());
    let mut ready = Vec::new();
    loop {
        upstream.turn(&mut ready)?;
    }
}

impl Upstream {
    fn bind(port: u16) -> io::Result<Self> {
        let upstream = Self {
            poll: Poll::new()?,
            listener: TcpListener::bind((Ipv4Addr::LOCALHOST, port))?,
            timer: Timer::new()?,
            schedule: Schedule::default(),
            connections: Vec::new(),
            free: Vec::new(),
        };
        upstream.listener.set_nonblocking(true)?;
        upstream.poll.watch(&upstream.listener, LISTENER, Interest::Read)?;
        upstream.poll.watch(&upstream.timer, TIMER, Interest::Read)?;
        Ok(upstream)
    }

    fn turn(&mut self, ready: &mut Vec<usize>) -> io::Result<()> {
        self.poll.wait(ready, None)?;
        for &token in ready.iter() {
            match token {
                LISTENER => self.accept()?,
                TIMER => self.send_due_events()?,
                slot => self.serve_connection(slot)?,
            }
        }
        Ok(())
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            match self.listener.accept() {
                Ok((socket, _)) => self.insert(socket)?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                // The client has gone between its SYN and now.
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn insert(&mut self, socket: TcpStream) -> io::Result<()> {
        socket.set_nonblocking(true)?;
        socket.set_nodelay(true)?;
        let slot = self.free.pop().unwrap_or_else(|| {
            self.connections.push(None);
            self.connections.len() - 1
        });
        self.poll.watch(&socket, slot, Interest::Read)?;
        self.connections[slot] = Some(Connection::new(socket));
        Ok(())
    }

    /// Does what a ready connection allows. One that fails is closed: the gateway sees it.
    fn serve_connection(&mut self, slot: usize) -> io::Result<()> {
        // A connection closed by an earlier token may still stand in the batch.
        let Some(connection) = &mut self.connections[slot] else {
            return Ok(());
        };
        let interest = connection.interest();
        match connection.advance() {
            Progress::Gone => {
                self.close(slot);
                return Ok(());
            }
            Progress::StreamBegun => {
                connection.stream = Some(self.schedule.add(slot, monotonic_ns()));
                set_timer(&self.timer, &self.schedule)?;
            }
            Progress::Open => {}
        }
        if connection.interest() != interest {
            self.poll.rewatch(connection.socket(), slot, connection.interest())?;
        }
        Ok(())
    }

    fn send_due_events(&mut self) -> io::Result<()> {
        while let Some(due) = self.schedule.pop_due(monotonic_ns()) {
            let connection = self.connections[due.slot].as_mut();
            // The slot may belong to another connection by now.
            let Some(connection) = connection.filter(|c| c.stream == Some(due.stream)) else {
                continue;
            };
            match connection.send_event() {
                Progress::Gone => self.close(due.slot),
                Progress::Open | Progress::StreamBegun => self.schedule.repeat(due),
            }
        }
        set_timer(&self.timer, &self.schedule)
    }

    fn close(&mut self, slot: usize) {
        self.connections[slot] = None;
        self.free.push(slot);
    }
}

/// Sets the timer to the next event. Setting it also clears the expiry that has been served.
fn set_timer(timer: &Timer, schedule: &Schedule) -> io::Result<()> {
    match schedule.next() {
        Some(at) => timer.set(at),
        None => timer.stop(),
    }
}
