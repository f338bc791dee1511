//! The text format of Prometheus, version 0.0.4: how families and series are written.

use super::histogram::HistogramTotal;

/// A label of a series: name, value.
pub(super) type Label<'a> = (&'static str, &'a str);

/// A page being written. Families must be written once each, with all their series.
pub(super) struct Exposition<'a> {
    text: String,
    tags: Vec<&'a (String, String)>,
}

impl<'a> Exposition<'a> {
    /// `tags` go on every series. One whose name is no label name, or is taken by an earlier tag
    /// or by histograms (`le`), is left out: it would spoil the whole page.
    pub(super) fn new(tags: &'a [(String, String)]) -> Self {
        let mut kept: Vec<&(String, String)> = Vec::with_capacity(tags.len());
        for tag in tags {
            if is_label_name(&tag.0) && tag.0 != "le" && kept.iter().all(|other| other.0 != tag.0) {
                kept.push(tag);
            }
        }
        Self { text: String::with_capacity(64 * 1024), tags: kept }
    }

    pub(super) fn counter(&mut self, name: &'static str, help: &str) -> Family<'_, 'a> {
        debug_assert!(name.ends_with("_total"), "{name} counts, so it should say so");
        self.family(name, "counter", help)
    }

    pub(super) fn gauge(&mut self, name: &'static str, help: &str) -> Family<'_, 'a> {
        self.family(name, "gauge", help)
    }

    pub(super) fn histogram(&mut self, name: &'static str, help: &str) -> Family<'_, 'a> {
        self.family(name, "histogram", help)
    }

    fn family(&mut self, name: &'static str, kind: &str, help: &str) -> Family<'_, 'a> {
        self.line(&["# HELP ", name, " ", help]);
        self.line(&["# TYPE ", name, " ", kind]);
        Family { page: self, name }
    }

    fn line(&mut self, parts: &[&str]) {
        self.text.extend(parts.iter().copied());
        self.text.push('\n');
    }

    pub(super) fn finish(self) -> String {
        self.text
    }

    fn write_labels(&mut self, labels: &[Label<'_>]) {
        let tags = self.tags.iter().map(|tag| (tag.0.as_str(), tag.1.as_str()));
        let tags = tags.filter(|(name, _)| labels.iter().all(|own| own.0 != *name));
        let mut before = '{';
        for (name, value) in labels.iter().copied().chain(tags) {
            self.text.push(before);
            self.text.push_str(name);
            self.text.push_str("=\"");
            write_escaped(&mut self.text, value);
            self.text.push('"');
            before = ',';
        }
        if before == ',' {
            self.text.push('}');
        }
    }
}

/// The series of one name.
pub(super) struct Family<'p, 'a> {
    page: &'p mut Exposition<'a>,
    name: &'static str,
}

impl Family<'_, '_> {
    pub(super) fn series(&mut self, labels: &[Label<'_>], value: impl ToString) {
        self.line("", labels, &value.to_string());
    }

    /// The series of one histogram: buckets, sum and count, in seconds.
    pub(super) fn buckets(&mut self, labels: &[Label<'_>], total: &HistogramTotal) {
        for (bound_ns, count) in total.cumulative() {
            self.bucket(labels, &seconds(bound_ns).to_string(), count);
        }
        self.bucket(labels, "+Inf", total.count());
        self.line("_sum", labels, &seconds(total.sum_ns()).to_string());
        self.line("_count", labels, &total.count().to_string());
    }

    fn bucket(&mut self, labels: &[Label<'_>], le: &str, count: u64) {
        let labels: Vec<Label<'_>> = labels.iter().copied().chain([("le", le)]).collect();
        self.line("_bucket", &labels, &count.to_string());
    }

    fn line(&mut self, suffix: &str, labels: &[Label<'_>], value: &str) {
        self.page.text.push_str(self.name);
        self.page.text.push_str(suffix);
        self.page.write_labels(labels);
        self.page.line(&[" ", value]);
    }
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

/// `[a-zA-Z_][a-zA-Z0-9_]*`; what begins with two underscores belongs to Prometheus.
fn is_label_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !name.starts_with("__")
}

fn write_escaped(text: &mut String, value: &str) {
    for character in value.chars() {
        match character {
            '\\' => text.push_str(r"\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str(r"\n"),
            other => text.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Histogram;
    use crate::telemetry::histogram::OVERHEAD;

    fn tags(tags: &[(&str, &str)]) -> Vec<(String, String)> {
        tags.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    fn gauge(tags: &[(String, String)], labels: &[Label<'_>]) -> String {
        let mut page = Exposition::new(tags);
        page.gauge("up", "Whether.").series(labels, 1);
        page.finish().lines().last().unwrap().to_owned()
    }

    #[test]
    fn a_family_is_introduced_once() {
        let mut page = Exposition::new(&[]);
        let mut family = page.counter("cats_total", "Cats seen.");
        family.series(&[("colour", "black")], 2);
        family.series(&[("colour", "red")], 3);
        let expected = "# HELP cats_total Cats seen.\n# TYPE cats_total counter\n\
                        cats_total{colour=\"black\"} 2\ncats_total{colour=\"red\"} 3\n";
        assert_eq!(page.finish(), expected);
    }

    #[test]
    fn a_series_without_labels_has_no_braces() {
        assert_eq!(gauge(&[], &[]), "up 1");
    }

    #[test]
    fn a_label_of_its_own_wins_over_a_tag() {
        let tags = tags(&[("service", "tagged"), ("zone", "eu")]);
        assert_eq!(gauge(&tags, &[("service", "own")]), r#"up{service="own",zone="eu"} 1"#);
        assert_eq!(gauge(&tags, &[]), r#"up{service="tagged",zone="eu"} 1"#);
    }

    #[test]
    fn tags_that_would_spoil_the_page_are_left_out() {
        let tags =
            tags(&[("a-b", "1"), ("", "2"), ("__x", "3"), ("le", "4"), ("ok", "5"), ("ok", "6")]);
        assert_eq!(gauge(&tags, &[]), r#"up{ok="5"} 1"#);
    }

    #[test]
    fn label_values_cannot_break_out_of_their_quotes() {
        let line = gauge(&[], &[("path", "a\"} 1\nup{x=\"\\")]);
        assert_eq!(line, r#"up{path="a\"} 1\nup{x=\"\\"} 1"#);
    }

    #[test]
    fn a_histogram_is_written_in_seconds_and_cumulative() {
        let histogram = Histogram::new(&OVERHEAD);
        histogram.record(1_500);
        histogram.record(3_000);
        histogram.record(70_000_000);
        let mut total = HistogramTotal::new(&OVERHEAD);
        total.add(&histogram);
        let mut page = Exposition::new(&[]);
        page.histogram("overhead_seconds", "Ours.").buckets(&[], &total);
        let text = page.finish();
        let lines: Vec<_> = text.lines().skip(2).collect();
        assert_eq!(lines[0], r#"overhead_seconds_bucket{le="0.000002"} 1"#);
        assert_eq!(lines[1], r#"overhead_seconds_bucket{le="0.000005"} 2"#);
        assert_eq!(lines[12], r#"overhead_seconds_bucket{le="0.05"} 2"#);
        assert_eq!(lines[13], r#"overhead_seconds_bucket{le="+Inf"} 3"#);
        assert_eq!(lines[14..], ["overhead_seconds_sum 0.0700045", "overhead_seconds_count 3"]);
    }
}
