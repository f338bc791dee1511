//! Which route a request takes: the first in file order whose conditions all hold.

use super::settings::{Action, HostPattern, PathPattern, Route, Settings};

/// What of a request the conditions look at.
pub struct Question<'a> {
    /// Index into [`Settings::listeners`].
    pub listener: usize,
    /// In lower case, without a port.
    pub host: &'a [u8],
    /// Normalised, without the query.
    pub path: &'a [u8],
    /// As sent; methods are case-sensitive.
    pub method: &'a [u8],
}

/// The routes of a snapshot, in file order.
pub struct RouteTable {
    routes: Vec<Route>,
}

impl RouteTable {
    pub fn compile(settings: &Settings) -> Self {
        Self { routes: settings.routes.clone() }
    }

    pub(super) fn get(&self, index: usize) -> &Route {
        &self.routes[index]
    }

    /// The first matching route, as an index into [`Settings::routes`]. `field` gives the value of a
    /// request field by its name.
    pub fn find<'a>(
        &self,
        question: &Question<'a>,
        field: impl Fn(&str) -> Option<&'a [u8]>,
    ) -> Option<usize> {
        self.routes.iter().position(|route| {
            route.listener.is_none_or(|listener| listener == question.listener)
                && route.path.as_ref().is_none_or(|path| path.matches(question.path))
                && route.host.as_ref().is_none_or(|host| host.matches(question.host))
                && route.allows_method(question.method)
                && route.headers.iter().all(|(name, value)| field(name) == Some(value.as_bytes()))
                && route.lets_page_through(question.path)
        })
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
        }
    }
}

impl Route {
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
    pub(super) fn label(&self) -> String {
        let path = match &self.path {
            None => "/",
            Some(PathPattern::Exact(path)) => path,
            Some(PathPattern::Prefix(prefix)) if prefix.is_empty() => "/",
            Some(PathPattern::Prefix(prefix)) => prefix,
        };
        match &self.host {
            None => path.to_owned(),
            Some(HostPattern::Exact(host)) => format!("{host}{path}"),
            Some(HostPattern::Suffix(suffix)) => format!("*{suffix}{path}"),
        }
    }
}

impl super::settings::OpsPage {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::settings::OpsPage;

    fn route(path: PathPattern) -> Route {
        Route { path: Some(path), ..Route::any() }
    }

    fn find(routes: Vec<Route>, host: &str, method: &str, path: &str) -> Option<usize> {
        let question = Question {
            listener: 0,
            host: host.as_bytes(),
            path: path.as_bytes(),
            method: method.as_bytes(),
        };
        RouteTable { routes }.find(&question, |name| (name == "x-canary").then_some(&b"yes"[..]))
    }

    #[test]
    fn a_prefix_matches_itself_and_on_a_segment_border() {
        let routes = || vec![route(PathPattern::Prefix("/v1".into()))];
        assert_eq!(find(routes(), "a", "GET", "/v1"), Some(0));
        assert_eq!(find(routes(), "a", "GET", "/v1/chat"), Some(0));
        assert_eq!(find(routes(), "a", "GET", "/v10"), None);
        assert_eq!(find(routes(), "a", "GET", "/"), None);
    }

    #[test]
    fn the_empty_prefix_matches_every_path() {
        let routes = || vec![route(PathPattern::Prefix(String::new()))];
        assert_eq!(find(routes(), "a", "GET", "/"), Some(0));
        assert_eq!(find(routes(), "a", "GET", "/x/y"), Some(0));
    }

    #[test]
    fn the_first_match_wins_and_every_condition_must_hold() {
        let mut posts = route(PathPattern::Prefix(String::new()));
        posts.methods = vec!["POST".into()];
        let mut canary = route(PathPattern::Prefix(String::new()));
        canary.headers = vec![("x-canary".into(), "no".into())];
        let mut host = route(PathPattern::Prefix(String::new()));
        host.host = Some(HostPattern::Suffix(".example.com".into()));
        let rest = route(PathPattern::Prefix(String::new()));
        let routes = || vec![posts.clone(), canary.clone(), host.clone(), rest.clone()];
        assert_eq!(find(routes(), "a.example.com", "POST", "/"), Some(0));
        assert_eq!(find(routes(), "a.example.com", "GET", "/"), Some(2));
        assert_eq!(find(routes(), ".example.com", "GET", "/"), Some(3));
        assert_eq!(find(routes(), "example.com", "GET", "/"), Some(3));
    }

    #[test]
    fn an_ops_route_lets_only_its_pages_through() {
        let mut ops = route(PathPattern::Prefix(String::new()));
        ops.action = Action::Ops(vec![OpsPage::Health]);
        let routes = || vec![ops.clone()];
        assert_eq!(find(routes(), "a", "GET", "/health"), Some(0));
        assert_eq!(find(routes(), "a", "GET", "/metrics"), None);
        assert_eq!(find(routes(), "a", "GET", "/admin/drain"), None);
    }
}
