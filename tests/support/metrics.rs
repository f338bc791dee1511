//! Reads Prometheus text.

/// A page of `/metrics`.
pub struct Metrics(pub String);

impl Metrics {
    /// The sum of all series of a family whose labels include those asked for, such as
    /// `name{reason="bare_line_feed"}`. A family that the page does not have is a typing error.
    pub fn sum(&self, series: &str) -> f64 {
        let (name, wanted) = split(series);
        assert!(self.has_family(name), "there is no metric {name}");
        self.series(name).filter(|(labels, _)| contains(labels, &wanted)).map(|(_, n)| n).sum()
    }

    fn has_family(&self, name: &str) -> bool {
        let base = ["_count", "_sum", "_bucket"].iter().find_map(|end| name.strip_suffix(end));
        let is_type_of = |family: &str| self.0.contains(&format!("# TYPE {family} "));
        is_type_of(name) || base.is_some_and(is_type_of)
    }

    /// As [`Metrics::sum`], for counters.
    pub fn count(&self, series: &str) -> u64 {
        self.sum(series) as u64
    }

    /// Labels and values of a family.
    pub fn series<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (Labels<'a>, f64)> {
        let samples = self.0.lines().filter(|line| !line.starts_with('#'));
        samples.filter_map(move |line| {
            let (series, value) = line.rsplit_once(' ')?;
            let (is, labels) = split(series);
            (is == name).then(|| (labels, value.parse().expect("a number")))
        })
    }
}

pub type Labels<'a> = Vec<(&'a str, &'a str)>;

/// Name and labels. A label's value may hold anything but an escaped quote.
fn split(series: &str) -> (&str, Labels<'_>) {
    let Some((name, mut rest)) = series.split_once('{') else { return (series, Vec::new()) };
    let mut labels = Vec::new();
    while let Some((label, after)) = rest.split_once("=\"") {
        let (value, after) = after.split_once('"').expect("a label's value ends in a quote");
        labels.push((label, value));
        rest = after.strip_prefix(',').unwrap_or(after);
    }
    (name, labels)
}

fn contains(labels: &Labels<'_>, wanted: &Labels<'_>) -> bool {
    wanted.iter().all(|label| labels.contains(label))
}
