//! What operators have changed of endpoints while the gateway runs; it stands over the file.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::availability::AdminState;
use super::settings::Address;

impl AdminState {
    pub const ALL: [Self; 3] = [Self::Ready, Self::Drain, Self::Maintenance];

    /// As the management API calls it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Drain => "drain",
            Self::Maintenance => "maintenance",
        }
    }
}

/// What holds for one endpoint instead of what the file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Change {
    pub state: AdminState,
    /// `None` is the file's.
    pub weight: Option<u32>,
}

/// Changes by cluster and endpoint. Only what exists can be changed, so there are few of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes(BTreeMap<(String, String), Change>);

impl Changes {
    /// Of an endpoint by its name: its label, or an address as in the file.
    pub fn of(&self, cluster: &str, endpoint: &str) -> Change {
        let key = (cluster.to_owned(), endpoint.to_owned());
        self.0.get(&key).copied().unwrap_or_default()
    }

    /// What holds for an endpoint: for `at` of the addresses of `address`, if that is a name. What
    /// is said of the one address goes before what is said of the name.
    pub fn in_force(&self, cluster: &str, address: &Address, at: Option<SocketAddr>) -> Change {
        if self.is_empty() {
            return Change::default();
        }
        let own = self.of(cluster, &address.label(at));
        let shared = self.of(cluster, &address.to_string());
        let state = if own.state == AdminState::Ready { shared.state } else { own.state };
        Change { state, weight: own.weight.or(shared.weight) }
    }

    /// A change that changes nothing is forgotten.
    pub fn set(&mut self, cluster: &str, endpoint: &str, change: Change) {
        let key = (cluster.to_owned(), endpoint.to_owned());
        match change == Change::default() {
            true => drop(self.0.remove(&key)),
            false => drop(self.0.insert(key, change)),
        }
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str, Change)> {
        self.0.iter().map(|((cluster, endpoint), change)| (&**cluster, &**endpoint, *change))
    }

    /// Forgets those for which `stays` does not hold, and returns them.
    pub fn forget(&mut self, stays: impl Fn(&str, &str) -> bool) -> Vec<(String, String)> {
        let gone =
            |(cluster, endpoint): &(String, String), _: &mut Change| !stays(cluster, endpoint);
        self.0.extract_if(.., gone).map(|(key, _)| key).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAINED: Change = Change { state: AdminState::Drain, weight: None };

    #[test]
    fn a_change_back_leaves_nothing_behind() {
        let mut changes = Changes::default();
        changes.set("docs", "a:1", DRAINED);
        assert_eq!(changes.of("docs", "a:1"), DRAINED);
        assert_eq!(changes.of("api", "a:1"), Change::default());
        changes.set("docs", "a:1", Change::default());
        assert!(changes.is_empty());
    }

    #[test]
    fn what_is_said_of_one_address_goes_before_what_is_said_of_its_name() {
        let mut changes = Changes::default();
        changes.set("docs", "a:1", Change { weight: Some(3), ..DRAINED });
        let address = Address::Tcp { host: "a".into(), port: 1 };
        let at = Some("10.0.0.1:1".parse().unwrap());
        let of = |changes: &Changes| changes.in_force("docs", &address, at);
        assert_eq!(of(&changes), Change { weight: Some(3), ..DRAINED });
        let own = Change { state: AdminState::Maintenance, weight: Some(0) };
        changes.set("docs", "a/10.0.0.1:1", own);
        assert_eq!(of(&changes), own);
    }

    #[test]
    fn what_does_not_exist_any_more_is_forgotten() {
        let mut changes = Changes::default();
        changes.set("docs", "a:1", DRAINED);
        changes.set("docs", "b:1", DRAINED);
        let gone = changes.forget(|_, endpoint| endpoint == "a:1");
        assert_eq!(gone, [("docs".to_owned(), "b:1".to_owned())]);
        assert_eq!(changes.iter().count(), 1);
    }
}
