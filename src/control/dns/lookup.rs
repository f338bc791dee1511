//! What a name stands for, asked of the servers that the settings or the system name.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::net::NetError;
use hickory_resolver::proto::rr::rdata::SRV;
use hickory_resolver::proto::rr::{RData, RecordType};
use tokio::sync::Semaphore;

use super::service;
use super::system::{Resolver, System};
use crate::proxy::overlay::Target;
use crate::proxy::settings::{self, Family, Name};
use crate::telemetry::LookupOutcome;

/// Lookups at one time. A silent server holds each for some seconds.
const LOOKUPS_MAX: usize = 128;

/// Records of one service whose hosts are looked up; those of lowest priority are left out.
const RECORDS_MAX: usize = 64;

/// How long what the file of hosts says counts.
const FILE_TTL: Duration = Duration::from_secs(10);

/// Asks for names, a bounded number at a time.
pub(super) struct Lookups {
    pub(super) settings: settings::Resolver,
    system: System,
    places: Semaphore,
}

/// What a name stands for, and for how long.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) targets: Vec<Target>,
    pub(super) ttl: Duration,
}

/// Why a name stands for nothing new.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) outcome: LookupOutcome,
    /// For the operator.
    pub(super) why: String,
}

/// Addresses of a host; none if it has none of that family.
struct Addresses {
    ips: Vec<IpAddr>,
    ttl: Duration,
    exists: bool,
}

impl Lookups {
    pub(super) fn new(settings: settings::Resolver) -> Arc<Self> {
        let system = System::new(&settings);
        Arc::new(Self { settings, system, places: Semaphore::new(LOOKUPS_MAX) })
    }

    pub(super) async fn look_up(&self, name: &Name) -> Result<Answer, Failure> {
        let _place = self.places.acquire().await;
        let resolver = self.system.resolver().map_err(Failure::of)?;
        let looking = async {
            match name {
                Name::Host(host) => {
                    let addresses = self.host(&resolver, host).await?;
                    let targets = addresses.ips.into_iter().map(Target::host).collect();
                    Ok(Answer { targets, ttl: addresses.ttl })
                }
                Name::Service(service) => self.service(&resolver, service).await,
            }
        };
        let limit = self.limit();
        tokio::time::timeout(limit, looking).await.unwrap_or_else(|_| Err(Failure::silence(limit)))
    }

    /// The resolver keeps to its own limits for each question; this is for all of a lookup.
    fn limit(&self) -> Duration {
        let settings::Resolver { servers, timeout, attempts, .. } = &self.settings;
        let servers = u32::try_from(servers.len()).unwrap_or(1).max(1);
        // A host of a service is a second question, and the other family a third.
        timeout.saturating_mul(attempts.saturating_mul(servers)).saturating_mul(3)
    }

    /// At least one address.
    async fn host(&self, resolver: &Resolver, host: &str) -> Result<Addresses, Failure> {
        let (first, second) = match self.settings.prefer {
            Family::Ipv6 => (RecordType::AAAA, RecordType::A),
            Family::Ipv4 | Family::Both => (RecordType::A, RecordType::AAAA),
        };
        let wants_both = self.settings.prefer == Family::Both;
        let mut found = Addresses::in_file(resolver, host, [first, second], wants_both);
        if found.ips.is_empty() {
            found = addresses(resolver, host, first).await?;
            // A question that fails is no answer: with half of the addresses the others would go.
            if found.ips.is_empty() || wants_both {
                found.add(addresses(resolver, host, second).await?);
            }
        }
        if !found.ips.is_empty() {
            return Ok(found);
        }
        Err(match found.exists {
            true => Failure::new(LookupOutcome::NoAddress, format!("{host} has no address")),
            false => Failure::new(LookupOutcome::NoSuchName, format!("there is no {host}")),
        })
    }

    async fn service(&self, resolver: &Resolver, name: &str) -> Result<Answer, Failure> {
        let lookup = match resolver.ask(name, RecordType::SRV).await {
            Ok(lookup) => lookup,
            Err(error) if error.is_nx_domain() => {
                let why = format!("there is no {name}");
                return Err(Failure::new(LookupOutcome::NoSuchName, why));
            }
            Err(error) if error.is_no_records_found() => return Err(Failure::no_service(name)),
            Err(error) => return Err(Failure::of(error)),
        };
        let ttl = shortest_ttl(lookup.answers().iter().map(|record| record.ttl));
        let records = lookup.answers().iter().filter_map(|record| match &record.data {
            // RFC 2782: a single dot means that there is no such service.
            RData::SRV(record) if !record.target.is_root() => Some(record.clone()),
            _ => None,
        });
        let mut records: Vec<SRV> = records.collect();
        records.sort_by_key(|record| (record.priority, u16::MAX - record.weight));
        records.truncate(RECORDS_MAX);
        self.hosts_of(resolver, name, records, ttl).await
    }

    /// The addresses of the hosts that offer a service. Hosts without one are passed over.
    async fn hosts_of(
        &self,
        resolver: &Resolver,
        name: &str,
        records: Vec<SRV>,
        ttl: Duration,
    ) -> Result<Answer, Failure> {
        let mut answer = Answer { targets: Vec::new(), ttl };
        let ranks = service::ranks(&records);
        for (record, rank) in records.iter().zip(ranks) {
            let host = record.target.to_ascii();
            match self.host(resolver, &host).await {
                Ok(Addresses { ips, ttl, .. }) => {
                    answer.ttl = answer.ttl.min(ttl);
                    answer.targets.extend(ips.into_iter().map(|ip| rank.at(ip)));
                }
                Err(failure) if failure.outcome.is_an_answer() => {}
                Err(failure) => return Err(failure),
            }
        }
        if answer.targets.is_empty() { Err(Failure::no_service(name)) } else { Ok(answer) }
    }
}

impl Addresses {
    /// The file tells no time to live.
    fn in_file(
        resolver: &Resolver,
        host: &str,
        [first, second]: [RecordType; 2],
        wants_both: bool,
    ) -> Self {
        let mut ips = resolver.in_file(host, first);
        if ips.is_empty() || wants_both {
            ips.extend(resolver.in_file(host, second));
        }
        Self { ips, ttl: FILE_TTL, exists: true }
    }

    fn add(&mut self, other: Self) {
        self.ips.extend(other.ips);
        self.ttl = self.ttl.min(other.ttl);
        self.exists |= other.exists;
    }
}

/// The addresses of one family.
async fn addresses(
    resolver: &Resolver,
    host: &str,
    family: RecordType,
) -> Result<Addresses, Failure> {
    match resolver.ask(host, family).await {
        Ok(lookup) => Ok(Addresses {
            ips: lookup.answers().iter().filter_map(|record| record.data.ip_addr()).collect(),
            ttl: shortest_ttl(lookup.answers().iter().map(|record| record.ttl)),
            exists: true,
        }),
        Err(error) if error.is_no_records_found() => {
            Ok(Addresses { ips: Vec::new(), ttl: Duration::MAX, exists: !error.is_nx_domain() })
        }
        Err(error) => Err(Failure::of(error)),
    }
}

/// Of all records on the way, aliases included.
fn shortest_ttl(seconds: impl Iterator<Item = u32>) -> Duration {
    Duration::from_secs(u64::from(seconds.min().unwrap_or(0)))
}

impl Failure {
    fn new(outcome: LookupOutcome, why: String) -> Self {
        Self { outcome, why }
    }

    fn of(error: NetError) -> Self {
        let outcome = match error {
            NetError::Timeout => LookupOutcome::TimedOut,
            _ => LookupOutcome::ServerFailed,
        };
        Self::new(outcome, error.to_string())
    }

    fn silence(limit: Duration) -> Self {
        Self::new(LookupOutcome::TimedOut, format!("no answer within {} s", limit.as_secs()))
    }

    fn no_service(name: &str) -> Self {
        Self::new(LookupOutcome::NoAddress, format!("{name} names no host with an address"))
    }
}
