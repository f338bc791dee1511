//! A DNS server that says what a test tells it to, over UDP and TCP.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// What the server says of a name.
#[derive(Clone, Debug)]
pub enum Says {
    /// Its addresses, with a time to live in seconds.
    Addresses(u32, Vec<IpAddr>),
    /// The same, but over UDP only that the answer is too long for UDP.
    TooLong(u32, Vec<IpAddr>),
    /// Its SRV records, with a time to live in seconds.
    Hosts(u32, Vec<Host>),
    /// There is no such name.
    NoSuchName,
    /// The server cannot tell.
    Failure,
    /// Nothing at all.
    Silence,
}

/// An SRV record.
#[derive(Clone, Debug)]
pub struct Host {
    pub priority: u16,
    pub weight: u16,
    pub port: u16,
    pub name: &'static str,
}

/// A server that knows no name until it is told one. Its threads end with the test's process.
pub struct Dns {
    pub address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    says: HashMap<String, Says>,
    asked: HashMap<String, usize>,
}

const A: u16 = 1;
const AAAA: u16 = 28;
const SRV: u16 = 33;

const NO_ERROR: u8 = 0;
const SERVER_FAILURE: u8 = 2;
const NO_SUCH_NAME: u8 = 3;

pub fn dns() -> Dns {
    let (udp, tcp) = sockets();
    let address = udp.local_addr().expect("a bound socket has an address");
    let shared = Arc::new(Mutex::new(Shared::default()));
    {
        let shared = Arc::clone(&shared);
        thread::spawn(move || serve_udp(&udp, &shared));
    }
    {
        let shared = Arc::clone(&shared);
        thread::spawn(move || serve_tcp(&tcp, &shared));
    }
    Dns { address, shared }
}

/// Two of the same number.
fn sockets() -> (UdpSocket, TcpListener) {
    let pair = || {
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).ok()?;
        let udp = UdpSocket::bind(tcp.local_addr().ok()?).ok()?;
        Some((udp, tcp))
    };
    (0..100).find_map(|_| pair()).expect("a port that is free for both")
}

impl Dns {
    /// What the server says of `name` from now on.
    pub fn says(&self, name: &str, what: Says) {
        lock(&self.shared).says.insert(name.to_owned(), what);
    }

    pub fn addresses(&self, name: &str, addresses: &[IpAddr]) {
        self.says(name, Says::Addresses(0, addresses.to_vec()));
    }

    /// Questions of `name` so far.
    pub fn asked(&self, name: &str) -> usize {
        lock(&self.shared).asked.get(name).copied().unwrap_or(0)
    }

    /// A `[resolver]` that asks this server, often.
    pub fn resolver(&self, lines: &str) -> String {
        format!("[resolver]\nservers = [\"{}\"]\n{lines}\n", self.address)
    }
}

fn serve_udp(socket: &UdpSocket, shared: &Mutex<Shared>) {
    let mut buffer = [0; 4096];
    while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
        if let Some(answer) = answer(&buffer[..length], shared, false) {
            // Whoever asked may be gone.
            drop(socket.send_to(&answer, peer));
        }
    }
}

fn serve_tcp(listener: &TcpListener, shared: &Mutex<Shared>) {
    while let Ok((mut stream, _)) = listener.accept() {
        drop(stream.set_read_timeout(Some(Duration::from_secs(1))));
        let mut length = [0; 2];
        while stream.read_exact(&mut length).is_ok() {
            let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
            if stream.read_exact(&mut question).is_err() {
                break;
            }
            let Some(answer) = answer(&question, shared, true) else { continue };
            let length = u16::try_from(answer.len()).expect("a short answer").to_be_bytes();
            drop(stream.write_all(&[&length[..], &answer].concat()));
        }
    }
}

/// `None` is silence.
fn answer(message: &[u8], shared: &Mutex<Shared>, over_tcp: bool) -> Option<Vec<u8>> {
    let (name, kind, question) = question(message);
    let says = {
        let mut shared = lock(shared);
        *shared.asked.entry(name.clone()).or_default() += 1;
        shared.says.get(&name).cloned().unwrap_or(Says::NoSuchName)
    };
    let (rcode, truncated, records) = match says {
        Says::Silence => return None,
        Says::NoSuchName => (NO_SUCH_NAME, false, Vec::new()),
        Says::Failure => (SERVER_FAILURE, false, Vec::new()),
        Says::TooLong(..) if !over_tcp => (NO_ERROR, true, Vec::new()),
        Says::Addresses(ttl, ips) | Says::TooLong(ttl, ips) => {
            (NO_ERROR, false, ips.iter().filter_map(|ip| address_record(kind, ttl, *ip)).collect())
        }
        Says::Hosts(ttl, hosts) if kind == SRV => {
            (NO_ERROR, false, hosts.iter().map(|host| host_record(ttl, host)).collect())
        }
        Says::Hosts(..) => (NO_ERROR, false, Vec::new()),
    };
    let count = u16::try_from(records.len()).expect("a short answer");
    let mut out = message[..2].to_vec();
    out.extend([0x81 | u8::from(truncated) << 1, 0x80 | rcode, 0, 1]);
    out.extend(count.to_be_bytes());
    out.extend([0, 0, 0, 0]);
    out.extend(question);
    out.extend(records.concat());
    Some(out)
}

/// The name and type that are asked for, and the question as it stands there.
fn question(message: &[u8]) -> (String, u16, &[u8]) {
    let (mut at, mut labels) = (12, Vec::new());
    while message[at] > 0 {
        let end = at + 1 + usize::from(message[at]);
        labels.push(String::from_utf8_lossy(&message[at + 1..end]).to_lowercase());
        at = end;
    }
    let kind = u16::from_be_bytes([message[at + 1], message[at + 2]]);
    (labels.join("."), kind, &message[12..at + 5])
}

fn address_record(kind: u16, ttl: u32, ip: IpAddr) -> Option<Vec<u8>> {
    match (kind, ip) {
        (A, IpAddr::V4(ip)) => Some(record(A, ttl, &ip.octets())),
        (AAAA, IpAddr::V6(ip)) => Some(record(AAAA, ttl, &ip.octets())),
        _ => None,
    }
}

fn host_record(ttl: u32, host: &Host) -> Vec<u8> {
    let mut data = Vec::new();
    for number in [host.priority, host.weight, host.port] {
        data.extend(number.to_be_bytes());
    }
    for label in host.name.split('.') {
        data.push(u8::try_from(label.len()).expect("a label"));
        data.extend(label.bytes());
    }
    data.push(0);
    record(SRV, ttl, &data)
}

/// Of the name in the question.
fn record(kind: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    let mut out = vec![0xc0, 12];
    out.extend(kind.to_be_bytes());
    out.extend([0, 1]);
    out.extend(ttl.to_be_bytes());
    out.extend(u16::try_from(data.len()).expect("short data").to_be_bytes());
    out.extend(data);
    out
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
