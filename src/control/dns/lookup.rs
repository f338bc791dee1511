//! One question to the resolver.

use std::net::IpAddr;
use std::time::Duration;

use crate::proxy::settings::Name;

/// What a name stands for, and for how long.
pub(super) struct Answer {
    pub(super) addresses: Vec<IpAddr>,
    pub(super) ttl: Duration,
}

/// How long one name may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The system's resolver does not tell the time to live.
const TTL: Duration = Duration::from_secs(30);

/// Asks the system. The error is for the operator.
pub(super) async fn look_up(name: &Name) -> Result<Answer, String> {
    let Name::Host(host) = name;
    let asking = tokio::net::lookup_host((host.as_str(), 0));
    match tokio::time::timeout(TIMEOUT, asking).await {
        Ok(Ok(found)) => {
            let addresses: Vec<_> = found.map(|address| address.ip()).collect();
            match addresses.is_empty() {
                true => Err("it has no address".to_owned()),
                false => Ok(Answer { addresses, ttl: TTL }),
            }
        }
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {} s", TIMEOUT.as_secs())),
    }
}
