//! rustls's unbuffered connection, one step at a time. No sockets here.

use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, EncryptError};
use rustls::unbuffered::{UnbufferedStatus, WriteTraffic};
use rustls::{CommonState, Error};

/// What rustls keeps of one connection.
pub(super) enum Engine {
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
}

/// What is wanted once records can be sent.
#[derive(Clone, Copy)]
pub(super) enum Intent<'a> {
    /// Nothing: to understand what was received.
    Receive,
    /// These bytes, at most one record of them, encrypted.
    Send(&'a [u8]),
    /// close_notify (RFC 8446, 6.1).
    Close,
}

/// What one step brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The next step goes on with the same bytes.
    Again,
    /// Everything there was has been understood; the intent is carried out.
    Done,
    /// Received bytes are missing before anything can go on.
    Blocked,
    /// The peer has said that it sends no more.
    PeerClosed,
    /// No more can be sent either.
    Closed,
}

/// Where the bytes go that a step makes.
pub(super) struct Sinks<'a> {
    /// Takes decrypted content, one record at a time.
    pub(super) content: &'a mut dyn FnMut(&[u8]),
    /// Records to be sent are appended to it.
    pub(super) out: &'a mut Vec<u8>,
}

impl Engine {
    pub(super) fn common(&self) -> &CommonState {
        match self {
            Self::Server(server) => server,
            Self::Client(client) => client,
        }
    }

    /// The protocol that ALPN chose.
    pub(super) fn alpn(&self) -> Option<&[u8]> {
        self.common().alpn_protocol()
    }

    /// One step over the received `records`. The first so many of them, as the result says, are
    /// done with, whatever else it says. The others must be the beginning of what is given the
    /// next time, unless there are none: rustls remembers places in them.
    pub(super) fn step(
        &mut self,
        records: &mut [u8],
        intent: Intent<'_>,
        sinks: &mut Sinks<'_>,
    ) -> (usize, Result<Step, Error>) {
        match self {
            Self::Server(server) => handle(server.process_tls_records(records), intent, sinks),
            Self::Client(client) => handle(client.process_tls_records(records), intent, sinks),
        }
    }
}

fn handle<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    intent: Intent<'_>,
    sinks: &mut Sinks<'_>,
) -> (usize, Result<Step, Error>) {
    let UnbufferedStatus { mut discard, state } = status;
    let step = state.and_then(|state| match state {
        ConnectionState::ReadTraffic(mut traffic) => {
            while let Some(record) = traffic.next_record() {
                let record = record?;
                discard += record.discard;
                (sinks.content)(record.payload);
            }
            Ok(Step::Again)
        }
        ConnectionState::EncodeTlsData(data) => {
            encode(data, sinks.out);
            Ok(Step::Again)
        }
        // What was encoded is in a queue by now, from which it leaves in order.
        ConnectionState::TransmitTlsData(transmit) => {
            transmit.done();
            Ok(Step::Again)
        }
        ConnectionState::WriteTraffic(traffic) => write(traffic, intent, sinks.out),
        ConnectionState::BlockedHandshake => Ok(Step::Blocked),
        ConnectionState::PeerClosed => Ok(Step::PeerClosed),
        ConnectionState::Closed => Ok(Step::Closed),
        // Early data is never offered, and could be replayed.
        ConnectionState::ReadEarlyData(_) => Err(Error::General("early data".into())),
        _ => Err(Error::General("a state that this version of rustls does not have".into())),
    });
    (discard, step)
}

fn encode<Data>(mut data: EncodeTlsData<'_, Data>, out: &mut Vec<u8>) {
    let start = out.len();
    // Asked with no room at all, it says how much it needs.
    if let Err(EncodeError::InsufficientSize(size)) = data.encode(&mut []) {
        out.resize(start + size.required_size, 0);
        data.encode(&mut out[start..]).expect("the room is what it asked for");
    }
}

fn write<Data>(
    mut traffic: WriteTraffic<'_, Data>,
    intent: Intent<'_>,
    out: &mut Vec<u8>,
) -> Result<Step, Error> {
    match intent {
        Intent::Receive => {}
        Intent::Send(content) => {
            append(out, content.len() + RECORD_OVERHEAD, |room| traffic.encrypt(content, room))?;
        }
        Intent::Close => {
            append(out, RECORD_OVERHEAD + 2, |room| traffic.queue_close_notify(room))?;
        }
    }
    Ok(Step::Done)
}

/// Header (5), explicit nonce of TLS 1.2 (8) or inner content type of TLS 1.3 (1), tag (16).
const RECORD_OVERHEAD: usize = 5 + 8 + 16;

/// Appends what `write` puts into `room` bytes, or into as many as it says it needs.
fn append(
    out: &mut Vec<u8>,
    room: usize,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, EncryptError>,
) -> Result<(), Error> {
    let start = out.len();
    out.resize(start + room, 0);
    let mut written = write(&mut out[start..]);
    if let Err(EncryptError::InsufficientSize(size)) = written {
        out.resize(start + size.required_size, 0);
        written = write(&mut out[start..]);
    }
    out.truncate(start + written.as_ref().map_or(0, |written| *written));
    // rustls counts records, so that no key encrypts more than is safe.
    written.map(drop).map_err(|_| Error::EncryptError)
}
