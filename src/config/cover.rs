//! Whether one route takes every request that another would take.

use crate::proxy::settings::{HostPattern, PathPattern, Route};

/// Whether every request that matches `narrow` matches `wide` too. Says no when in doubt.
pub(super) fn covers(wide: &Route, narrow: &Route) -> bool {
    (wide.listener.is_none() || wide.listener == narrow.listener)
        && covers_option(wide.path.as_ref(), narrow.path.as_ref(), covers_path)
        && covers_option(wide.host.as_ref(), narrow.host.as_ref(), covers_host)
        && covers_methods(&wide.methods, &narrow.methods)
        && wide.headers.iter().all(|field| narrow.headers.contains(field))
}

/// An empty list is every method.
fn covers_methods(wide: &[String], narrow: &[String]) -> bool {
    let all_there = || narrow.iter().all(|method| wide.contains(method));
    wide.is_empty() || (!narrow.is_empty() && all_there())
}

/// A missing pattern matches everything.
fn covers_option<T>(wide: Option<&T>, narrow: Option<&T>, covers: fn(&T, &T) -> bool) -> bool {
    match (wide, narrow) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(wide), Some(narrow)) => covers(wide, narrow),
    }
}

fn covers_host(wide: &HostPattern, narrow: &HostPattern) -> bool {
    match (wide, narrow) {
        (HostPattern::Exact(wide), HostPattern::Exact(narrow)) => wide == narrow,
        (HostPattern::Exact(_), HostPattern::Suffix(_)) => false,
        (HostPattern::Suffix(wide), HostPattern::Exact(narrow) | HostPattern::Suffix(narrow)) => {
            narrow.ends_with(wide.as_str())
        }
    }
}

fn covers_path(wide: &PathPattern, narrow: &PathPattern) -> bool {
    use PathPattern::{Exact, Prefix, Regex};
    match (wide, narrow) {
        (Exact(wide), Exact(narrow)) => wide == narrow,
        (Prefix(wide), Exact(narrow) | Prefix(narrow)) => {
            let rest = narrow.strip_prefix(wide.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        }
        (Prefix(wide), Regex(_)) => wide.is_empty(),
        (Regex(wide), Exact(narrow)) => wide.is_match(narrow.as_bytes()),
        (Regex(wide), Regex(narrow)) => wide == narrow,
        (Exact(_) | Regex(_), Prefix(_)) | (Exact(_), Regex(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::settings::PathRegex;

    fn any() -> Route {
        Route::any()
    }

    fn under(prefix: &str) -> Route {
        Route { path: Some(PathPattern::Prefix(prefix.into())), ..any() }
    }

    fn at(path: &str) -> Route {
        Route { path: Some(PathPattern::Exact(path.into())), ..any() }
    }

    fn of(host: HostPattern) -> Route {
        Route { host: Some(host), ..any() }
    }

    #[test]
    fn a_catch_all_covers_everything_and_is_covered_by_its_like_only() {
        assert!(covers(&any(), &under("/a")));
        assert!(covers(&under(""), &at("/a")));
        assert!(!covers(&under("/a"), &any()));
        assert!(covers(&any(), &any()));
    }

    #[test]
    fn a_prefix_covers_on_segment_borders() {
        assert!(covers(&under("/a"), &under("/a/b")));
        assert!(covers(&under("/a"), &at("/a")));
        assert!(!covers(&under("/a"), &under("/ab")));
        assert!(!covers(&at("/a"), &under("/a")));
    }

    #[test]
    fn an_expression_covers_its_like_and_the_whole_paths_that_it_matches() {
        let matching = |source: &str| {
            let regex = PathRegex::new(source).unwrap();
            Route { path: Some(PathPattern::Regex(regex)), ..any() }
        };
        assert!(covers(&matching("^/a"), &matching("^/a")));
        assert!(covers(&matching("^/a"), &at("/ab")));
        assert!(covers(&under(""), &matching("^/a")));
        assert!(!covers(&matching("^/a"), &under("/a")));
        assert!(!covers(&matching("^/a"), &at("/b")));
        assert!(!covers(&under("/a"), &matching("^/a/")));
    }

    #[test]
    fn a_host_suffix_covers_longer_names_but_not_its_own() {
        let suffix = || of(HostPattern::Suffix(".example.com".into()));
        assert!(covers(&suffix(), &of(HostPattern::Exact("a.example.com".into()))));
        assert!(covers(&suffix(), &of(HostPattern::Suffix(".a.example.com".into()))));
        assert!(!covers(&suffix(), &of(HostPattern::Exact("example.com".into()))));
        assert!(!covers(&suffix(), &any()));
    }

    #[test]
    fn a_condition_of_the_earlier_route_must_be_one_of_the_later_too() {
        let post = || Route { methods: vec!["POST".into()], ..any() };
        let canary = || Route { headers: vec![("x".into(), "1".into())], ..any() };
        let first = || Route { listener: Some(0), ..any() };
        for conditional in [post(), canary(), first()] {
            assert!(!covers(&conditional, &any()));
            assert!(covers(&any(), &conditional));
            assert!(covers(&conditional, &conditional));
        }
        assert!(!covers(&first(), &Route { listener: Some(1), ..any() }));
    }
}
