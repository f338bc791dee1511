//! The families about the health of endpoints: checks, ejections, breakers.

use crate::telemetry::exposition::Exposition;
use crate::telemetry::report::{EndpointReport, PassiveReport, Report};

pub(super) fn write(page: &mut Exposition<'_>, report: &Report<'_>) {
    write_checks(page, report.endpoints);
    write_ejections(page, report.endpoints);
    write_breakers(page, report.endpoints);
}

type Labels<'a> = [(&'static str, &'a str); 2];

fn labels(endpoint: &EndpointReport) -> Labels<'_> {
    [("cluster", &endpoint.cluster), ("endpoint", &endpoint.endpoint)]
}

/// The counts to show: the first, so that there is a series, and those that have ever counted. All
/// of them would be a page of their own with thousands of endpoints.
fn shown<'a>(
    counts: &'a [(&'static str, u64)],
) -> impl Iterator<Item = (&'static str, u64)> + use<'a> {
    let shown = counts.iter().enumerate().filter(|(index, (_, count))| *index == 0 || *count > 0);
    shown.map(|(_, count)| *count)
}

fn write_checks(page: &mut Exposition<'_>, endpoints: &[EndpointReport]) {
    let mut family = page.counter("ringgate_health_checks_total", "Health checks, by outcome.");
    for endpoint in endpoints {
        let [cluster, address] = labels(endpoint);
        for (outcome, count) in shown(&endpoint.checks) {
            family.series(&[cluster, address, ("outcome", outcome)], count);
        }
    }
}

/// Endpoints that a breaker, or else an outlier, looks after.
fn with_passive(
    endpoints: &[EndpointReport],
    by_breaker: bool,
) -> impl Iterator<Item = (Labels<'_>, &PassiveReport)> {
    endpoints.iter().filter_map(move |endpoint| {
        let passive = endpoint.passive.as_ref().filter(|p| p.is_breaker == by_breaker)?;
        Some((labels(endpoint), passive))
    })
}

fn write_ejections(page: &mut Exposition<'_>, endpoints: &[EndpointReport]) {
    let help = "1 while the endpoint is ejected because it failed.";
    let mut family = page.gauge("ringgate_endpoint_ejected", help);
    for (labels, passive) in with_passive(endpoints, false) {
        family.series(&labels, passive.circuit as u8);
    }
    write_openings(page, endpoints, false, "ringgate_ejections_total", "Ejections, by reason.");
}

fn write_breakers(page: &mut Exposition<'_>, endpoints: &[EndpointReport]) {
    let help = "0 closed, 1 open, 2 half-open.";
    let mut family = page.gauge("ringgate_breaker_state", help);
    for (labels, passive) in with_passive(endpoints, true) {
        family.series(&labels, passive.circuit as u8);
    }
    let help = "How often the breaker has opened, by reason.";
    write_openings(page, endpoints, true, "ringgate_breaker_openings_total", help);
    // Both names are in use by rules of users.
    for name in ["jairouter_circuitbreaker_state", "jairouter_circuit_breaker_state"] {
        let mut family = page.gauge(name, "As ringgate_breaker_state.");
        for ([(_, service), (_, instance)], passive) in with_passive(endpoints, true) {
            let labels = [("service", service), ("instance", instance)];
            family.series(&labels, passive.circuit as u8);
        }
    }
}

fn write_openings(
    page: &mut Exposition<'_>,
    endpoints: &[EndpointReport],
    by_breaker: bool,
    name: &'static str,
    help: &'static str,
) {
    let mut family = page.counter(name, help);
    for ([cluster, address], passive) in with_passive(endpoints, by_breaker) {
        for (reason, count) in shown(&passive.openings) {
            family.series(&[cluster, address, ("reason", reason)], count);
        }
    }
}
