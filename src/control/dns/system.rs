//! The resolver as the settings and the system's files have it: made again when those change.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::system_conf::read_system_conf;

use crate::proxy::settings;

/// What the resolver is made from, besides the settings.
const FILES: [&str; 2] = ["/etc/resolv.conf", "/etc/hosts"];

/// How often the files are looked at.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Questions under way on one connection to a server; one more would be refused.
const QUESTIONS_MAX: usize = 1024;

pub(super) struct System {
    settings: settings::Resolver,
    made: Mutex<Option<Made>>,
}

struct Made {
    resolver: TokioResolver,
    /// When its files had last been changed.
    files: [Option<SystemTime>; FILES.len()],
    looked_at: Instant,
}

impl System {
    pub(super) fn new(settings: &settings::Resolver) -> Self {
        Self { settings: settings.clone(), made: Mutex::new(None) }
    }

    pub(super) fn resolver(&self) -> Result<TokioResolver, NetError> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = &mut *made {
            if made.looked_at.elapsed() < LOOK_AGAIN {
                return Ok(made.resolver.clone());
            }
            made.looked_at = Instant::now();
            if made.files == changed() {
                return Ok(made.resolver.clone());
            }
        }
        let files = changed();
        let resolver = make(&self.settings)?;
        *made = Some(Made { resolver: resolver.clone(), files, looked_at: Instant::now() });
        Ok(resolver)
    }
}

fn changed() -> [Option<SystemTime>; FILES.len()] {
    FILES.map(|file| std::fs::metadata(file).and_then(|file| file.modified()).ok())
}

fn make(settings: &settings::Resolver) -> Result<TokioResolver, NetError> {
    let (config, options) = match settings.servers.as_slice() {
        // A file without a server means the one of this machine (resolv.conf(5)).
        [] => read_system_conf().unwrap_or_else(|error| {
            tracing::warn!(%error, "no use of /etc/resolv.conf: the DNS server of this machine is asked");
            let here = SocketAddr::from((Ipv4Addr::LOCALHOST, DNS_PORT));
            (of_servers(&[here]), ResolverOpts::default())
        }),
        servers => (of_servers(servers), ResolverOpts::default()),
    };
    let retries = settings.attempts.saturating_sub(1);
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    let chosen = builder.options_mut();
    *chosen = options;
    chosen.timeout = settings.timeout;
    chosen.attempts = usize::try_from(retries).unwrap_or(0);
    // Every name has one who asks, and asks when its time has come.
    chosen.cache_size = 0;
    chosen.max_active_requests = QUESTIONS_MAX;
    chosen.use_hosts_file = ResolveHosts::Always;
    builder.build()
}

const DNS_PORT: u16 = 53;

fn of_servers(servers: &[SocketAddr]) -> ResolverConfig {
    let servers = servers.iter().map(|server| name_server(server.ip(), server.port())).collect();
    ResolverConfig::from_parts(None, Vec::new(), servers)
}

fn name_server(ip: IpAddr, port: u16) -> NameServerConfig {
    let at_port = |mut connection: ConnectionConfig| {
        connection.port = port;
        connection
    };
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(at_port);
    NameServerConfig::new(ip, true, connections.into())
}
