//! The hosts of a service (RFC 2782): what their records mean for the balance of a cluster.

use std::net::IpAddr;

use hickory_resolver::proto::rr::rdata::SRV;

use crate::proxy::overlay::{ServiceRecord, Target};

/// What an endpoint of the configuration can weigh at most.
const WEIGHT_MAX: u32 = 1000;

/// What a record says of every address of its host.
pub(super) struct Rank(ServiceRecord);

impl Rank {
    pub(super) fn at(&self, ip: IpAddr) -> Target {
        Target { ip, service: Some(self.0) }
    }
}

/// In the order of the records. Those of the lowest priority are what is used; all others stand in
/// for them.
pub(super) fn ranks(records: &[SRV]) -> Vec<Rank> {
    let first = records.iter().map(|record| record.priority).min();
    let heaviest = records.iter().map(|record| record.weight).max().unwrap_or(0);
    let rank = |record: &SRV| {
        Rank(ServiceRecord {
            port: record.port,
            weight: weight(record.weight, heaviest),
            backup: Some(record.priority) != first,
        })
    };
    records.iter().map(rank).collect()
}

/// A weight of 0 is a small chance, and no weights at all are equal ones.
fn weight(weight: u16, heaviest: u16) -> u32 {
    let (weight, heaviest) = (u32::from(weight), u32::from(heaviest));
    let scaled = if heaviest > WEIGHT_MAX { weight * WEIGHT_MAX / heaviest } else { weight };
    scaled.max(1)
}

#[cfg(test)]
mod tests {
    use hickory_resolver::proto::rr::Name;

    use super::*;

    fn ranked(records: &[(u16, u16)]) -> Vec<(u32, bool)> {
        let record =
            |(priority, weight): &(u16, u16)| SRV::new(*priority, *weight, 80, Name::root());
        let records: Vec<SRV> = records.iter().map(record).collect();
        ranks(&records).iter().map(|Rank(record)| (record.weight, record.backup)).collect()
    }

    #[test]
    fn the_lowest_priority_is_used_and_the_others_stand_in() {
        assert_eq!(
            ranked(&[(10, 60), (20, 5), (10, 20), (30, 1)]),
            [(60, false), (5, true), (20, false), (1, true)]
        );
    }

    #[test]
    fn weights_keep_their_proportions_within_what_an_endpoint_can_weigh() {
        assert_eq!(ranked(&[(0, 60_000), (0, 30_000)]), [(1000, false), (500, false)]);
        assert_eq!(ranked(&[(0, 65_535), (0, 1)]), [(1000, false), (1, false)]);
    }

    #[test]
    fn a_weight_of_zero_is_a_small_chance_and_among_its_like_an_equal_one() {
        assert_eq!(ranked(&[(0, 0), (0, 0)]), [(1, false), (1, false)]);
        assert_eq!(ranked(&[(0, 0), (0, 10)]), [(1, false), (10, false)]);
    }
}
