//! What a route asks of a request, one condition after the other.

use super::Question;
use crate::proxy::settings::{Action, HostPattern, OpsPage, PathPattern, Route};

/// The first condition of a route that does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mismatch<'r> {
    Listener,
    Host,
    Path,
    Method,
    /// The field of this name.
    Header(&'r str),
    /// The route leads to pages of the admin server, and this is none of them.
    Page,
}

impl Route {
    /// `None` if the route takes the request.
    pub(super) fn mismatch<'f>(
        &self,
        question: &Question<'_>,
        field: impl Fn(&str) -> Option<&'f [u8]>,
    ) -> Option<Mismatch<'_>> {
        if self.is_of_another_listener(question.listener) {
            return Some(Mismatch::Listener);
        }
        if self.host.as_ref().is_some_and(|host| !host.matches(question.host)) {
            return Some(Mismatch::Host);
        }
        if self.path.as_ref().is_some_and(|path| !path.matches(question.path)) {
            return Some(Mismatch::Path);
        }
        self.mismatch_beyond_path(question, field)
    }

    /// As [`Route::mismatch`], where host and path are known to match.
    pub(super) fn mismatch_beyond_path<'f>(
        &self,
        question: &Question<'_>,
        field: impl Fn(&str) -> Option<&'f [u8]>,
    ) -> Option<Mismatch<'_>> {
        if self.is_of_another_listener(question.listener) {
            return Some(Mismatch::Listener);
        }
        if !self.allows_method(question.method) {
            return Some(Mismatch::Method);
        }
        let differs = |(name, value): &&(String, String)| field(name) != Some(value.as_bytes());
        if let Some((name, _)) = self.headers.iter().find(differs) {
            return Some(Mismatch::Header(name));
        }
        (!self.lets_page_through(question.path)).then_some(Mismatch::Page)
    }

    /// Whether host and path are all that the route asks for.
    pub(super) fn has_conditions_beyond_path(&self) -> bool {
        self.listener.is_some()
            || !self.methods.is_empty()
            || !self.headers.is_empty()
            || matches!(self.action, Action::Ops(_))
    }

    fn is_of_another_listener(&self, listener: usize) -> bool {
        self.listener.is_some_and(|own| own != listener)
    }

    fn allows_method(&self, method: &[u8]) -> bool {
        self.methods.is_empty() || self.methods.iter().any(|allowed| allowed.as_bytes() == method)
    }

    /// An `ops` route is an allow list: other pages of the admin server are not behind it.
    fn lets_page_through(&self, path: &[u8]) -> bool {
        match &self.action {
            Action::Ops(pages) => pages.iter().any(|page| page.covers(path)),
            _ => true,
        }
    }

    /// The route in one word, as metrics and logs name it.
    pub fn label(&self) -> String {
        let path = match &self.path {
            None => "/",
            Some(PathPattern::Exact(path)) => path,
            Some(PathPattern::Prefix(prefix)) if prefix.is_empty() => "/",
            Some(PathPattern::Prefix(prefix)) => prefix,
            Some(PathPattern::Regex(regex)) => &format!("~{}", regex.source()),
        };
        match &self.host {
            None => path.to_owned(),
            Some(HostPattern::Exact(host)) => format!("{host}{path}"),
            Some(HostPattern::Suffix(suffix)) => format!("*{suffix}{path}"),
        }
    }
}

impl HostPattern {
    fn matches(&self, host: &[u8]) -> bool {
        match self {
            Self::Exact(wanted) => host == wanted.as_bytes(),
            Self::Suffix(suffix) => host.len() > suffix.len() && host.ends_with(suffix.as_bytes()),
        }
    }
}

impl PathPattern {
    fn matches(&self, path: &[u8]) -> bool {
        match self {
            Self::Exact(wanted) => path == wanted.as_bytes(),
            Self::Prefix(prefix) => match path.strip_prefix(prefix.as_bytes()) {
                Some(rest) => rest.is_empty() || rest.starts_with(b"/"),
                None => false,
            },
            // The target `*` is no path.
            Self::Regex(regex) => path.starts_with(b"/") && regex.is_match(path),
        }
    }
}

impl OpsPage {
    fn covers(self, path: &[u8]) -> bool {
        let paths: &[&[u8]] = match self {
            Self::Health => &[
                b"/health",
                b"/health/live",
                b"/health/ready",
                b"/ready",
                b"/actuator/health",
                b"/actuator/health/liveness",
                b"/actuator/health/readiness",
            ],
            Self::Info => &[b"/actuator/info"],
            Self::Prometheus => &[b"/metrics", b"/actuator/prometheus"],
        };
        paths.contains(&path)
    }
}
