//! What limits on requests let through, and how full their tables are.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::exposition::Exposition;
use super::super::report::Report;
use super::super::worker::{LimitKey, LimitSeries};

/// Requests that were let through, and rejected.
#[derive(Default)]
struct Decided {
    admitted: u64,
    rejected: u64,
}

/// What all workers decided, told apart by some of the labels.
fn by<'a, K: Ord>(
    series: &'a [Arc<LimitSeries>],
    key: impl Fn(&'a LimitKey) -> K,
) -> BTreeMap<K, Decided> {
    let mut by = BTreeMap::<K, Decided>::new();
    for one in series {
        let decided = by.entry(key(&one.key)).or_default();
        decided.admitted += one.admitted.get();
        decided.rejected += one.rejected.get();
    }
    by
}

pub(super) fn write(page: &mut Exposition<'_>, report: &Report<'_>) {
    let series = report.workers.iter().flat_map(|worker| worker.all_limit_series());
    let series: Vec<_> = series.collect();
    write_under_known_names(page, &series);

    let help = "Requests that a limit did not let through.";
    let mut family = page.counter("ringgate_limit_rejected_total", help);
    for ((scope, name, algorithm), Decided { rejected, .. }) in
        by(&series, |key| (key.scope, &*key.name, key.algorithm))
    {
        family.series(&[("scope", scope), ("name", name), ("algorithm", algorithm)], rejected);
    }
    write_tables(page, report);
}

fn write_under_known_names(page: &mut Exposition<'_>, series: &[Arc<LimitSeries>]) {
    let by_place = by(series, |key| (key.scope, &*key.name));
    let help = "Decisions of limits on requests.";
    let mut family = page.counter("jairouter_ratelimit_requests_total", help);
    for (&(scope, name), Decided { admitted, rejected }) in &by_place {
        family.series(&[("scope", scope), ("service", name)], admitted + rejected);
    }
    let help = "Requests that a limit did not let through.";
    let mut family = page.counter("jairouter_ratelimit_rejected_total", help);
    for (&(scope, name), Decided { rejected, .. }) in &by_place {
        family.series(&[("scope", scope), ("service", name)], rejected);
    }
    let help = "Decisions of limits on requests, by what was decided.";
    let mut family = page.counter("jairouter_rate_limit_events_total", help);
    for ((name, algorithm), decided) in by(series, |key| (&*key.name, key.algorithm)) {
        let [service, algorithm] = [("service", name), ("algorithm", algorithm)];
        family.series(&[service, algorithm, ("result", "allowed")], decided.admitted);
        family.series(&[service, algorithm, ("result", "rejected")], decided.rejected);
    }
}

/// Clients known, clients that can be known, requests beyond.
#[derive(Default)]
struct Tables {
    clients: usize,
    capacity: usize,
    overflowed: u64,
}

fn write_tables(page: &mut Exposition<'_>, report: &Report<'_>) {
    let mut by_place = BTreeMap::<_, Tables>::new();
    for limit in report.limits {
        let labels = [("scope", limit.scope), ("name", &*limit.name)];
        let tables = by_place.entry(labels).or_default();
        tables.clients += limit.clients;
        tables.capacity += limit.capacity;
        tables.overflowed += limit.overflowed;
    }
    let help = "Clients that a limit knows: they asked lately, or their credit is not whole.";
    let mut family = page.gauge("ringgate_limit_clients", help);
    by_place.iter().for_each(|(labels, tables)| family.series(labels, tables.clients));

    let mut family = page.gauge("ringgate_limit_clients_max", "How many clients it can know.");
    by_place.iter().for_each(|(labels, tables)| family.series(labels, tables.capacity));

    let help = "Requests of clients that had to share one limit, since there was no room.";
    let mut family = page.counter("ringgate_limit_overflow_total", help);
    by_place.iter().for_each(|(labels, tables)| family.series(labels, tables.overflowed));
}
