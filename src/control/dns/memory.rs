//! What names stand for, as text: the next process begins with it, be DNS there or not.
//!
//! A line for each address: `host NAME IP`, or `service NAME IP PORT WEIGHT primary|backup`.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use crate::proxy::overlay::{Overlay, ServiceRecord, Target};
use crate::proxy::settings::Name;

pub(in crate::control) fn write(overlay: &Overlay) -> String {
    let mut text = String::new();
    for (name, targets) in overlay.names() {
        for Target { ip, service } in targets {
            // Writing into a String does not fail.
            let _ = match service {
                None => writeln!(text, "host {name} {ip}"),
                Some(ServiceRecord { port, weight, backup }) => {
                    let rank = if *backup { "backup" } else { "primary" };
                    writeln!(text, "service {name} {ip} {port} {weight} {rank}")
                }
            };
        }
    }
    text
}

/// Lines that make no sense are passed over: the name is looked up as if it were new.
pub(in crate::control) fn read(text: &str) -> Overlay {
    let mut names: HashMap<Name, Vec<Target>> = HashMap::new();
    for (name, target) in text.lines().filter_map(line) {
        names.entry(name).or_default().push(target);
    }
    let mut overlay = Overlay::default();
    for (name, targets) in names {
        overlay.set_name(&name, Arc::from(targets));
    }
    overlay
}

fn line(line: &str) -> Option<(Name, Target)> {
    let words: Vec<&str> = line.split(' ').collect();
    match words.as_slice() {
        ["host", name, ip] => {
            Some((Name::Host((*name).to_owned()), Target::host(ip.parse().ok()?)))
        }
        ["service", name, ip, port, weight, rank @ ("primary" | "backup")] => {
            let (port, weight) = (port.parse().ok()?, weight.parse().ok()?);
            let service = Some(ServiceRecord { port, weight, backup: *rank == "backup" });
            let target = Target { ip: ip.parse().ok()?, service };
            Some((Name::Service((*name).to_owned()), target))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "host a.test 10.0.0.1\nhost a.test ::1\n\
                        service _http._tcp.a.test 10.0.0.2 8080 3 backup\n";

    #[test]
    fn what_is_written_is_read() {
        let overlay = read(TEXT);
        assert_eq!(overlay.name(&Name::Host("a.test".into())).len(), 2);
        let written = write(&overlay);
        let sorted = |text: &str| {
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            lines.sort_unstable();
            lines
        };
        assert_eq!(sorted(&written), sorted(TEXT));
    }

    #[test]
    fn lines_that_make_no_sense_are_passed_over() {
        let text = "host a.test\nhost a.test 10.0.0.300\nservice a 10.0.0.1 x 1 primary\n\
                    service a 10.0.0.1 80 1 first\nguest a 10.0.0.1\n\n";
        assert_eq!(read(text).names().count(), 0);
    }
}
