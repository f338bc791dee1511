//! What stands over the settings of the file: facts that change while the file does not.
//!
//! The control thread keeps one, and has a snapshot compiled again when it changes.

use std::collections::HashMap;
use std::fmt::{self, Display, Formatter};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::availability::AdminState;
use super::changes::Changes;
use super::settings::{Address, Cluster, Endpoint, Name};

/// What the names of endpoints stand for, and what operators have changed.
#[derive(Debug, Clone, Default)]
pub struct Overlay {
    pub changes: Changes,
    names: HashMap<Name, Arc<[Target]>>,
}

/// One address that a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    pub ip: IpAddr,
    /// Set for the name of a service; a host's port is in the settings.
    pub service: Option<ServiceRecord>,
}

/// What a service says of one of its hosts (RFC 2782), in the terms of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServiceRecord {
    pub port: u16,
    /// At least 1.
    pub weight: u32,
    pub backup: bool,
}

/// An endpoint as it can be connected to: one address of what the file has.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Resolved {
    pub(super) endpoint: Endpoint,
    /// `None` if the file has an address that needs no resolving, or if the name has none yet.
    pub(super) at: Option<SocketAddr>,
    pub(super) admin: AdminState,
}

impl Resolved {
    fn new(endpoint: Endpoint, at: Option<SocketAddr>) -> Self {
        Self { endpoint, at, admin: AdminState::Ready }
    }
}

impl Target {
    /// An address of a host.
    pub fn host(ip: IpAddr) -> Self {
        Self { ip, service: None }
    }

    /// What tells the targets of one name apart.
    pub fn place(&self) -> (IpAddr, Option<u16>) {
        (self.ip, self.service.map(|service| service.port))
    }

    fn endpoint(&self, written: &Endpoint) -> Option<Resolved> {
        let mut endpoint = written.clone();
        let port = match (&written.address, self.service) {
            (Address::Tcp { port, .. }, _) => *port,
            (Address::Service(_), Some(service)) => {
                endpoint.weight = service.weight;
                endpoint.backup |= service.backup;
                service.port
            }
            _ => return None,
        };
        Some(Resolved::new(endpoint, Some(SocketAddr::new(self.ip, port))))
    }
}

impl Display for Target {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.service {
            Some(service) => SocketAddr::new(self.ip, service.port).fmt(f),
            None => self.ip.fmt(f),
        }
    }
}

impl Overlay {
    /// Every name and what it stands for.
    pub fn names(&self) -> impl Iterator<Item = (&Name, &[Target])> {
        self.names.iter().map(|(name, targets)| (name, &**targets))
    }

    /// What a name stands for; nothing if it has not been resolved.
    pub fn name(&self, name: &Name) -> Arc<[Target]> {
        self.names.get(name).map(Arc::clone).unwrap_or_default()
    }

    /// Whether that is something else than before. No targets: the name is as good as not
    /// resolved.
    pub fn set_name(&mut self, name: &Name, targets: Arc<[Target]>) -> bool {
        if self.name(name) == targets {
            return false;
        }
        self.names.insert(name.clone(), targets);
        true
    }

    /// Forgets the names that are not wanted any more.
    pub fn retain_names(&mut self, is_wanted: impl Fn(&Name) -> bool) {
        self.names.retain(|name, _| is_wanted(name));
    }

    /// The endpoints of a cluster, an endpoint for each address of a name.
    pub(super) fn endpoints(&self, cluster: &Cluster) -> Vec<Resolved> {
        let mut resolved: Vec<_> =
            cluster.endpoints.iter().flat_map(|endpoint| self.resolved(endpoint)).collect();
        for Resolved { endpoint, at, admin } in &mut resolved {
            let change = self.changes.in_force(&cluster.name, &endpoint.address, *at);
            *admin = change.state;
            endpoint.weight = change.weight.unwrap_or(endpoint.weight);
        }
        resolved
    }

    fn resolved(&self, endpoint: &Endpoint) -> Vec<Resolved> {
        let targets = endpoint.address.name().map(|name| self.name(&name)).unwrap_or_default();
        match targets.is_empty() {
            true => vec![Resolved::new(endpoint.clone(), None)],
            false => targets.iter().filter_map(|target| target.endpoint(endpoint)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "[[listener]]\n\
        name = 'public'\n\
        bind = '127.0.0.1:0'\n\
        [[cluster.c.endpoint]]\n\
        address = 'host.test:80'\n\
        weight = 3\n\
        max_in_flight = 7\n\
        [[cluster.c.endpoint]]\n\
        address = 'srv:_http._tcp.test'\n\
        [[cluster.c.endpoint]]\n\
        address = '10.0.0.9:80'\n\
        backup = true\n";

    /// Address, weight, and whether it is a backup.
    fn endpoints(overlay: &Overlay) -> Vec<(String, u32, bool)> {
        let settings = crate::config::from_str("test.toml", FILE, &|_| None).unwrap().settings;
        let show = |Resolved { endpoint, at, .. }: Resolved| {
            let address = at.map_or_else(|| endpoint.address.to_string(), |at| at.to_string());
            (address, endpoint.weight, endpoint.backup)
        };
        overlay.endpoints(&settings.clusters[0]).into_iter().map(show).collect()
    }

    #[test]
    fn a_name_without_addresses_is_one_endpoint() {
        let unresolved = [
            ("host.test:80".to_owned(), 3, false),
            ("srv:_http._tcp.test".to_owned(), 1, false),
            ("10.0.0.9:80".to_owned(), 1, true),
        ];
        let mut overlay = Overlay::default();
        assert_eq!(endpoints(&overlay), unresolved);
        overlay.set_name(&Name::Host("host.test".into()), Arc::default());
        assert_eq!(endpoints(&overlay), unresolved);
    }

    #[test]
    fn each_address_has_the_settings_of_its_name_and_a_service_says_more() {
        let ip = |last| IpAddr::from([10, 0, 0, last]);
        let service = Some(ServiceRecord { port: 8080, weight: 40, backup: true });
        let mut overlay = Overlay::default();
        let hosts = [ip(1), ip(2)].map(Target::host);
        assert!(overlay.set_name(&Name::Host("host.test".into()), Arc::new(hosts)));
        assert!(!overlay.set_name(&Name::Host("host.test".into()), Arc::new(hosts)));
        let hosts = [Target { ip: ip(3), service }];
        overlay.set_name(&Name::Service("_http._tcp.test".into()), Arc::new(hosts));

        assert_eq!(
            endpoints(&overlay),
            [
                ("10.0.0.1:80".to_owned(), 3, false),
                ("10.0.0.2:80".to_owned(), 3, false),
                ("10.0.0.3:8080".to_owned(), 40, true),
                ("10.0.0.9:80".to_owned(), 1, true),
            ]
        );
    }
}
