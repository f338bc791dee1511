//! What stands over the settings of the file: facts that change while the file does not.
//!
//! The control thread keeps one, and has a snapshot compiled again when it changes.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::settings::{Address, Cluster, Endpoint, Name};

/// What the names of endpoints stand for.
#[derive(Debug, Clone, Default)]
pub struct Overlay {
    names: HashMap<Name, Arc<[IpAddr]>>,
}

/// An endpoint as it can be connected to: one address of what the file has.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Resolved {
    pub(super) endpoint: Endpoint,
    /// `None` if the file has an address that needs no resolving, or if the name has none yet.
    pub(super) at: Option<SocketAddr>,
}

impl Overlay {
    /// Whether that is something else than before. No addresses: the name is as good as not
    /// resolved.
    pub fn set_name(&mut self, name: &Name, addresses: Arc<[IpAddr]>) -> bool {
        if self.names.get(name).is_some_and(|known| *known == addresses) {
            return false;
        }
        self.names.insert(name.clone(), addresses);
        true
    }

    /// Forgets the names that are not wanted any more.
    pub fn retain_names(&mut self, is_wanted: impl Fn(&Name) -> bool) {
        self.names.retain(|name, _| is_wanted(name));
    }

    /// The endpoints of a cluster, an endpoint for each address of a name.
    pub(super) fn endpoints(&self, cluster: &Cluster) -> Vec<Resolved> {
        cluster.endpoints.iter().flat_map(|endpoint| self.resolved(endpoint)).collect()
    }

    fn resolved(&self, endpoint: &Endpoint) -> Vec<Resolved> {
        let name = endpoint.address.name();
        let addresses = name.and_then(|name| self.names.get(&name)).filter(|all| !all.is_empty());
        let resolved = |at| Resolved { endpoint: endpoint.clone(), at };
        match (&endpoint.address, addresses) {
            (Address::Tcp { port, .. }, Some(addresses)) => {
                addresses.iter().map(|ip| resolved(Some(SocketAddr::new(*ip, *port)))).collect()
            }
            _ => vec![resolved(None)],
        }
    }
}
