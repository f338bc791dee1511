//! What an operator asked for, checked and with every default applied: plain data, no cells.
//!
//! `config` produces it from a file; [`super::snapshot`] compiles it into what workers use.
//! References between parts are indices, so that nothing can dangle.

mod limit;

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;

use crate::http::proxy_protocol::Version;
use crate::net::tls::{Chain, ListenerTls, UpstreamTls};
use crate::policy::balance::Algorithm;
use crate::policy::{circuit, health, retry};

pub use self::limit::{Clients, Limit, LimitKind, Limits, Per};
pub use super::route::PathRegex;
pub use crate::telemetry::access_log::LineFormat;

/// Everything a configuration file says.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    pub server: Server,
    pub admin: Admin,
    pub resolver: Resolver,
    pub listeners: Vec<Listener>,
    /// In file order: the first match wins.
    pub routes: Vec<Route>,
    /// The named clusters, then one for each model.
    pub clusters: Vec<Cluster>,
    pub models: Vec<Model>,
    pub limits: Limits,
    pub log: Log,
    /// `None` switches the access log off.
    pub access_log: Option<AccessLog>,
    pub telemetry: Telemetry,
}

impl Settings {
    /// Every certificate that is shown to others.
    pub fn certificates(&self) -> impl Iterator<Item = &Chain> {
        let listeners = self.listeners.iter().filter_map(|listener| listener.tls.as_ref());
        let shown = listeners.flat_map(|tls| &tls.identities);
        let endpoints = self.clusters.iter().flat_map(|cluster| &cluster.endpoints);
        let ours = endpoints.filter_map(|endpoint| endpoint.tls.as_ref()?.rules.identity.as_ref());
        shown.chain(ours).map(|identity| &identity.chain)
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    /// `None`: one worker for each CPU this process may run on.
    pub workers: Option<usize>,
    pub io: Io,
    /// How long exchanges may go on after TERM, or after a new process has taken over.
    pub drain_timeout: Duration,
    /// How long a new process may take until it accepts.
    pub handover_timeout: Duration,
    /// Bytes of request bodies that may be held at one time by the whole instance.
    pub buffered: u64,
}

/// Which driver the workers use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Io {
    /// io_uring where it works, else epoll.
    Auto,
    /// io_uring or refuse to start.
    IoUring,
    Epoll,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Admin {
    pub bind: SocketAddr,
    /// What the management API asks for; `None`: its address has to protect it.
    pub token: Option<Secret>,
    pub runtime_changes: RuntimeChanges,
}

/// How long changes of operators hold that were not made in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuntimeChanges {
    /// Over reloads and hand-overs.
    Keep,
    /// Until the file is read again.
    UntilReload,
}

impl RuntimeChanges {
    /// As in the file.
    pub fn label(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::UntilReload => "until_reload",
        }
    }
}

/// Who is asked for names, and for how long answers count.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolver {
    /// Empty: those of the system.
    pub servers: Vec<SocketAddr>,
    /// For one question to one server.
    pub timeout: Duration,
    /// How often each server is asked, the first time included.
    pub attempts: u32,
    pub prefer: Family,
    /// An answer counts for at least so long, whatever its time to live.
    pub min_ttl: Duration,
    /// An answer counts for at most so long.
    pub max_ttl: Duration,
    /// How long the last good answer stays while lookups fail; `None` is for ever.
    pub hold: Option<Duration>,
}

impl Default for Resolver {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            timeout: Duration::from_secs(2),
            attempts: 2,
            prefer: Family::Ipv4,
            min_ttl: Duration::from_secs(1),
            max_ttl: Duration::from_secs(300),
            hold: None,
        }
    }
}

/// Which addresses of a name are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Those of IPv6 only if there are none of IPv4: most often it is the same machine.
    Ipv4,
    Ipv6,
    Both,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Listener {
    pub name: String,
    pub bind: SocketAddr,
    /// Clients may speak HTTP/2.
    pub http2: bool,
    pub limits: ListenerLimits,
    /// For all requests on it.
    pub limit: Vec<Limit>,
    pub timeouts: ListenerTimeouts,
    /// `None`: plain.
    pub tls: Option<ListenerTls>,
    /// Connections begin with a PROXY protocol header, which only trusted proxies may send.
    pub proxy_protocol: bool,
    /// Peers whose word about the client is believed: X-Forwarded-*, Forwarded, X-Real-IP and
    /// the PROXY protocol.
    pub trusted_proxies: Vec<Cidr>,
    /// For routes that have none of their own, and for requests that no route takes.
    pub errors: ErrorPages,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ListenerLimits {
    /// Bytes of a request head, request line included.
    pub head: usize,
    /// Fields in a request head.
    pub headers: usize,
    /// Bytes of a request body.
    pub body: u64,
    /// Bytes a second that a body must come at as a whole; `None` is no such bound.
    pub body_rate: Option<NonZeroU64>,
    /// Client connections on this listener, all workers together.
    pub connections: usize,
}

/// `None` is no limit (`"0s"` in the file).
#[derive(Debug, Clone, PartialEq)]
pub struct ListenerTimeouts {
    /// From the connection to the end of its TLS handshake.
    pub tls_handshake: Option<Duration>,
    /// From the first byte of a head to its last.
    pub request_head: Option<Duration>,
    /// Between two pieces of a request body.
    pub request_body: Option<Duration>,
    /// Between the end of a response and the next request.
    pub keep_alive: Option<Duration>,
}

/// An address block, such as `10.0.0.0/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    pub address: IpAddr,
    pub prefix: u8,
}

impl Cidr {
    /// Whether `ip` lies in the block. An IPv4-mapped IPv6 address counts as IPv4.
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.address, ip.to_canonical()) {
            (IpAddr::V4(block), IpAddr::V4(ip)) => {
                let shift = 32 - u32::from(self.prefix.min(32));
                shift == 32 || u32::from(block) >> shift == u32::from(ip) >> shift
            }
            (IpAddr::V6(block), IpAddr::V6(ip)) => {
                let shift = 128 - u32::from(self.prefix.min(128));
                shift == 128 || u128::from(block) >> shift == u128::from(ip) >> shift
            }
            _ => false,
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// Index into [`Settings::listeners`]; `None` matches all of them.
    pub listener: Option<usize>,
    pub host: Option<HostPattern>,
    pub path: Option<PathPattern>,
    /// Empty matches every method.
    pub methods: Vec<String>,
    /// All of these request fields must be there with exactly this value. Names in lower case.
    pub headers: Vec<(String, String)>,
    /// Clients that may use the route; empty is all of them.
    pub allow: Vec<Cidr>,
    /// Clients that may not, whatever `allow` says.
    pub deny: Vec<Cidr>,
    /// Bytes of a request body, in place of the listener's limit.
    pub body: Option<u64>,
    /// For the requests that take it.
    pub limit: Vec<Limit>,
    pub request_headers: HeaderEdits,
    pub response_headers: HeaderEdits,
    /// Responses tell browsers to be careful.
    pub security_headers: bool,
    pub prefix: PrefixChange,
    pub errors: ErrorPages,
    pub access_log: bool,
    pub action: Action,
}

#[cfg(test)]
impl Route {
    /// Takes every request, for tests to add conditions to.
    pub(crate) fn any() -> Self {
        Self {
            listener: None,
            host: None,
            path: None,
            methods: Vec::new(),
            headers: Vec::new(),
            allow: Vec::new(),
            deny: Vec::new(),
            body: None,
            limit: Vec::new(),
            request_headers: HeaderEdits::default(),
            response_headers: HeaderEdits::default(),
            security_headers: false,
            prefix: PrefixChange::Keep,
            errors: ErrorPages::default(),
            access_log: true,
            action: Action::Ai,
        }
    }
}

impl Route {
    /// Whether a client may use the route: `deny` wins, and without `allow` all others may.
    pub fn admits(&self, client: IpAddr) -> bool {
        let within = |blocks: &[Cidr]| blocks.iter().any(|block| block.contains(client));
        !within(&self.deny) && (self.allow.is_empty() || within(&self.allow))
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum HostPattern {
    /// In lower case, without a port.
    Exact(String),
    /// `*.example.com`, kept as `.example.com`: any number of labels in front, at least one.
    Suffix(String),
}

#[derive(Debug, Clone, PartialEq)]
pub enum PathPattern {
    /// Without its trailing slash (so `/` is the empty string): matches itself, or itself
    /// followed by `/`.
    Prefix(String),
    Exact(String),
    Regex(PathRegex),
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct HeaderEdits {
    /// Replaces every field of that name. Names in lower case, values checked.
    pub set: Vec<(String, String)>,
    /// Stands beside what is there under that name. Names in lower case, values checked.
    pub add: Vec<(String, String)>,
    /// Names in lower case.
    pub remove: Vec<String>,
}

impl HeaderEdits {
    /// No edits.
    pub fn none() -> &'static Self {
        static NONE: HeaderEdits =
            HeaderEdits { set: Vec::new(), add: Vec::new(), remove: Vec::new() };
        &NONE
    }

    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.add.is_empty() && self.remove.is_empty()
    }
}

/// What clients are told, by status, in place of Ringgate's own sentence.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ErrorPages(pub Vec<ErrorPage>);

#[derive(Debug, Clone, PartialEq)]
pub struct ErrorPage {
    pub status: u16,
    pub content_type: &'static str,
    pub body: Arc<[u8]>,
}

impl ErrorPages {
    pub fn of(&self, status: u16) -> Option<&ErrorPage> {
        self.0.iter().find(|page| page.status == status)
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum PrefixChange {
    Keep,
    /// `strip_prefix`: this prefix goes, on a segment border; a path that lacks it stays.
    Strip(String),
    /// `replace_prefix`: the matched prefix is swapped for this one.
    Replace(String),
}

#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Index into [`Settings::clusters`].
    Cluster(usize),
    /// The AI API: the model named in the body decides.
    Ai,
    Respond(StaticResponse),
    Redirect(Redirect),
    /// Pages of the admin server that this route lets through.
    Ops(Vec<OpsPage>),
}

#[derive(Debug, Clone, PartialEq)]
pub struct StaticResponse {
    pub status: u16,
    pub body: String,
    /// Names in lower case. `content-type` is there if the body is not empty.
    pub headers: Vec<(String, String)>,
}

/// Where a client is sent. What is `None` stays as the client asked for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Redirect {
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
    /// Set if `host` or `port` is: a reference to another server has to name the scheme.
    pub scheme: Option<Scheme>,
    /// In lower case, IPv6 in brackets, without a port.
    pub host: Option<String>,
    /// With another scheme or host, `None` is the scheme's own port.
    pub port: Option<u16>,
    /// With the query if it has one, which then takes the place of the client's.
    pub path: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port that need not be written.
    pub fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpsPage {
    Health,
    Info,
    Prometheus,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Cluster {
    /// The cluster's name in the file; for a model `model:NAME`.
    pub name: String,
    pub endpoints: Vec<Endpoint>,
    pub timeouts: ClusterTimeouts,
    /// Connections to endpoints begin with a header of this version.
    pub proxy_protocol: Option<Version>,
    pub balance: Balance,
    pub sticky: Option<Sticky>,
    pub retry: retry::Settings,
    /// How its endpoints are checked; `None`: not at all.
    pub health_check: Option<health::Settings>,
    /// What becomes of endpoints that fail: `outlier` or `breaker`.
    pub passive: Option<circuit::Settings>,
    /// Exchanges in flight on all endpoints together; `None` is no limit.
    pub max_in_flight: Option<u32>,
    /// Exchanges that may wait until there is room.
    pub queue: usize,
    /// For the requests that go there.
    pub limit: Vec<Limit>,
}

/// How a cluster picks an endpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct Balance {
    pub algorithm: Algorithm,
    /// For [`Algorithm::ConsistentHash`].
    pub hash_on: HashOn,
    /// For [`Algorithm::ConsistentHash`]: how many times its fair share of what is in flight an
    /// endpoint may have.
    pub load_bound: f64,
    /// How long an endpoint that a reload adds takes to get its whole share.
    pub slow_start: Option<Duration>,
}

/// What makes two requests go to the same endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HashOn {
    ClientIp,
    /// The value of this field. In lower case.
    Header(String),
    /// The value of this cookie.
    Cookie(String),
}

impl Default for Balance {
    fn default() -> Self {
        Self {
            algorithm: Algorithm::default(),
            hash_on: HashOn::ClientIp,
            load_bound: 1.25,
            slow_start: None,
        }
    }
}

/// A cookie that keeps a client with its endpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct Sticky {
    /// Its name.
    pub cookie: String,
    /// `None`: until the browser is closed.
    pub max_age: Option<Duration>,
    pub path: String,
    pub domain: Option<String>,
    pub secure: bool,
    pub http_only: bool,
    pub same_site: Option<SameSite>,
    /// Endpoints do not see it.
    pub indirect: bool,
    /// What its values are hashed with.
    pub key: Option<Secret>,
}

/// Which requests from other sites have the cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SameSite {
    Strict,
    Lax,
    None,
}

/// `None` is no limit (`"0s"` in the file).
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterTimeouts {
    pub connect: Option<Duration>,
    /// From the last byte of the request to the first of the response.
    pub first_byte: Option<Duration>,
    /// Between two pieces of a response.
    pub idle: Option<Duration>,
    /// From the first byte of the request to the last of the response.
    pub total: Option<Duration>,
    /// Between two pieces in either direction, once the connection speaks another protocol.
    pub upgrade_idle: Option<Duration>,
    /// Waiting for room on an endpoint.
    pub queue: Option<Duration>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Endpoint {
    /// A name stands for an endpoint on each of its addresses, with these settings each.
    pub address: Address,
    /// 0 is drained.
    pub weight: u32,
    /// `None`: plain.
    pub tls: Option<EndpointTls>,
    /// It is spoken to in HTTP/2.
    pub http2: bool,
    /// Exchanges in flight there; `None` is no limit.
    pub max_in_flight: Option<u32>,
    /// For the attempts there. None of them is per client or per service.
    pub limit: Vec<Limit>,
    /// Gets requests only while no other endpoint is available.
    pub backup: bool,
    /// Set for an endpoint of a model.
    pub provider: Option<Provider>,
}

/// How an endpoint is spoken to privately.
#[derive(Debug, Clone, PartialEq)]
pub struct EndpointTls {
    pub rules: UpstreamTls,
    /// Whom its certificate must be for, and what it is asked for (SNI).
    pub server_name: ServerName<'static>,
}

/// Where an endpoint is reached.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// A name or an IP address (IPv6 without brackets) and a port.
    Tcp {
        host: String,
        port: u16,
    },
    /// A name whose SRV records tell hosts, ports and weights.
    Service(String),
    Unix(PathBuf),
    /// An abstract socket name: how a worker reaches the admin server of its own process.
    Abstract(String),
}

/// A name that stands for addresses, which may change while the settings stay as they are.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Name {
    /// Of a host: A and AAAA records.
    Host(String),
    /// Of a service: SRV records.
    Service(String),
}

impl Address {
    /// What the endpoint is called on the address `at` of its name, if it is a name.
    pub fn label(&self, at: Option<SocketAddr>) -> String {
        match (self, at) {
            (Self::Tcp { host: name, .. } | Self::Service(name), Some(at)) => {
                format!("{name}/{at}")
            }
            _ => self.to_string(),
        }
    }

    /// The name that has to be resolved before anybody can connect.
    pub fn name(&self) -> Option<Name> {
        match self {
            Self::Tcp { host, .. } if host.parse::<IpAddr>().is_err() => {
                Some(Name::Host(host.clone()))
            }
            Self::Service(name) => Some(Name::Service(name.clone())),
            Self::Tcp { .. } | Self::Unix(_) | Self::Abstract(_) => None,
        }
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Host(name) | Self::Service(name) => f.write_str(name),
        }
    }
}

/// How a request is changed on its way to a model's endpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct Provider {
    pub dialect: Dialect,
    /// The Host field, from the URL, with the port when it is not the scheme's own.
    pub authority: String,
    /// What stands before the operation's path, such as `/v1`; no trailing slash.
    pub base_path: String,
    /// The name upstream, where it differs from the client's.
    pub model: Option<String>,
    /// Sent as the dialect wants it: `authorization: Bearer` or `x-api-key`.
    pub api_key: Option<Secret>,
    /// Set after everything else but the credential. Names in lower case.
    pub headers: Vec<(String, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    OpenAi,
    Anthropic,
}

/// A value that Debug does not show.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    pub name: String,
    pub aliases: Vec<String>,
    /// Index into [`Settings::clusters`].
    pub cluster: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Log {
    /// In `tracing_subscriber::EnvFilter` syntax, such as `info` or `ringgate=debug`.
    pub level: String,
    pub format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Json,
    Pattern,
}

#[derive(Debug, Clone, PartialEq)]
pub struct AccessLog {
    pub format: LineFormat,
    /// `None` is standard output.
    pub file: Option<PathBuf>,
    /// Of successful exchanges, the share that is written; others always are. 1.0 is all.
    pub sample: f64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Telemetry {
    /// The label `service` of `http_requests_total` and `http_request_duration_seconds`.
    pub service: String,
    /// Labels on every series.
    pub tags: Vec<(String, String)>,
}
