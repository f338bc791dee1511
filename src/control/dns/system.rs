//! The resolver as the settings and the system's files have it: made again when those change.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::system_conf::read_system_conf;
use hickory_resolver::{Hosts, TokioResolver};

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
    resolver: Arc<Resolver>,
    /// When its files had last been changed.
    files: [Option<SystemTime>; FILES.len()],
    looked_at: Instant,
}

impl System {
    pub(super) fn new(settings: &settings::Resolver) -> Self {
        Self { settings: settings.clone(), made: Mutex::new(None) }
    }

    pub(super) fn resolver(&self) -> Result<Arc<Resolver>, NetError> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = &mut *made {
            if made.looked_at.elapsed() < LOOK_AGAIN {
                return Ok(Arc::clone(&made.resolver));
            }
            made.looked_at = Instant::now();
            if made.files == changed() {
                return Ok(Arc::clone(&made.resolver));
            }
        }
        let files = changed();
        let resolver = Arc::new(Resolver::new(&self.settings)?);
        let known = Arc::clone(&resolver);
        *made = Some(Made { resolver: known, files, looked_at: Instant::now() });
        Ok(resolver)
    }
}

fn changed() -> [Option<SystemTime>; FILES.len()] {
    FILES.map(|file| std::fs::metadata(file).and_then(|file| file.modified()).ok())
}

/// The file of hosts, then DNS, as the system's own resolver does it.
pub(super) struct Resolver {
    hosts: Hosts,
    dns: TokioResolver,
    search: Search,
}

impl Resolver {
    fn new(settings: &settings::Resolver) -> Result<Self, NetError> {
        let (config, options) = match settings.servers.as_slice() {
            // A file without a server means the one of this machine (resolv.conf(5)).
            [] => read_system_conf().unwrap_or_else(|error| {
                tracing::warn!(%error, "no use of /etc/resolv.conf: this machine's DNS is asked");
                let here = SocketAddr::from((Ipv4Addr::LOCALHOST, DNS_PORT));
                (of_servers(&[here]), ResolverOpts::default())
            }),
            servers => (of_servers(servers), ResolverOpts::default()),
        };
        let search = Search::new(&config, options.ndots);
        let retries = settings.attempts.saturating_sub(1);
        let provider = TokioRuntimeProvider::default();
        let mut builder = TokioResolver::builder_with_config(config, provider);
        let chosen = builder.options_mut();
        *chosen = options;
        chosen.timeout = settings.timeout;
        chosen.attempts = usize::try_from(retries).unwrap_or(0);
        // Every name has one who asks, and asks when its time has come.
        chosen.cache_size = 0;
        chosen.max_active_requests = QUESTIONS_MAX;
        chosen.use_hosts_file = ResolveHosts::Never;
        let hosts = Hosts::from_system().unwrap_or_default();
        Ok(Self { hosts, dns: builder.build()?, search })
    }

    /// The addresses of a host in the file, of one family.
    pub(super) fn in_file(&self, host: &str, family: RecordType) -> Vec<IpAddr> {
        let Ok(name) = Name::from_utf8(host) else { return Vec::new() };
        let found = self.hosts.lookup_static_host(&Query::query(name, family));
        let addresses = |lookup: Lookup| {
            lookup.answers().iter().filter_map(|record| record.data.ip_addr()).collect()
        };
        found.map(addresses).unwrap_or_default()
    }

    /// Asks for the first of the names that `name` can mean which has such records. A question that
    /// fails ends the search: what is behind it is another name's.
    pub(super) async fn ask(&self, name: &str, kind: RecordType) -> Result<Lookup, NetError> {
        let mut nothing = None;
        for candidate in self.search.candidates(name) {
            match self.dns.lookup(candidate, kind).await {
                Err(error) if error.is_no_records_found() => {
                    // That a name is there says more than that another is not.
                    if nothing.is_none() || !error.is_nx_domain() {
                        nothing = Some(error);
                    }
                }
                outcome => return outcome,
            }
        }
        Err(nothing.unwrap_or(NetError::Message("there is no name to ask for")))
    }
}

/// What a name without a dot at its end can mean (resolv.conf(5)).
struct Search {
    /// With a dot at the end of each.
    suffixes: Vec<String>,
    /// A name with so many dots is first looked up as it stands.
    dots: usize,
}

impl Search {
    fn new(config: &ResolverConfig, dots: usize) -> Self {
        let domain = config.domain.iter().filter(|_| config.search.is_empty());
        let suffix = |suffix: &Name| format!("{}.", suffix.to_ascii().trim_end_matches('.'));
        Self { suffixes: config.search.iter().chain(domain).map(suffix).collect(), dots }
    }

    fn candidates(&self, name: &str) -> Vec<String> {
        if name.ends_with('.') {
            return vec![name.to_owned()];
        }
        let whole = format!("{name}.");
        let is_long = name.matches('.').count() >= self.dots;
        let mut candidates: Vec<String> =
            self.suffixes.iter().map(|suffix| format!("{whole}{suffix}")).collect();
        candidates.insert(if is_long { 0 } else { candidates.len() }, whole);
        candidates
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn search(suffixes: &[&str], dots: usize) -> Search {
        let suffix = |text: &&str| Name::from_utf8(text).unwrap();
        let search = suffixes.iter().map(suffix).collect();
        Search::new(&ResolverConfig::from_parts(None, search, Vec::new()), dots)
    }

    #[test]
    fn a_name_with_few_dots_is_searched_for_before_it_is_taken_as_it_stands() {
        let search = search(&["a.test", "b.test."], 1);
        assert_eq!(search.candidates("db"), ["db.a.test.", "db.b.test.", "db."]);
        assert_eq!(search.candidates("db.c"), ["db.c.", "db.c.a.test.", "db.c.b.test."]);
        assert_eq!(search.candidates("db."), ["db."]);
    }

    #[test]
    fn a_domain_stands_in_for_a_search_list_that_is_not_there() {
        let domain = Some(Name::from_utf8("a.test").unwrap());
        let config = ResolverConfig::from_parts(domain.clone(), Vec::new(), Vec::new());
        assert_eq!(Search::new(&config, 1).candidates("db"), ["db.a.test.", "db."]);
        let listed = vec![Name::from_utf8("b.test").unwrap()];
        let config = ResolverConfig::from_parts(domain, listed, Vec::new());
        assert_eq!(Search::new(&config, 1).candidates("db"), ["db.b.test.", "db."]);
    }
}
