//! The path that goes on, by the route's changes of its prefix.

use crate::proxy::settings::{PathPattern, PrefixChange, Route};

impl Route {
    /// What stands in front of the rest of a path, and that rest.
    pub fn change_prefix<'a>(&'a self, path: &'a [u8]) -> (&'a str, &'a [u8]) {
        let (cut, new) = match (&self.prefix, &self.path) {
            (PrefixChange::Strip(prefix), _) => (prefix.as_str(), ""),
            (PrefixChange::Replace(new), Some(PathPattern::Prefix(old))) => (old.as_str(), &**new),
            _ => return ("", path),
        };
        match path.strip_prefix(cut.as_bytes()) {
            Some(rest) if rest.starts_with(b"/") => (new, rest),
            Some([]) if new.is_empty() => ("", b"/"),
            Some([]) => (new, b""),
            _ => ("", path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(route: &Route, path: &str) -> String {
        let (prefix, rest) = route.change_prefix(path.as_bytes());
        prefix.to_owned() + std::str::from_utf8(rest).unwrap()
    }

    #[test]
    fn a_prefix_is_cut_on_a_segment_border() {
        let route = Route { prefix: PrefixChange::Strip("/api".into()), ..Route::any() };
        let cases = [("/api/users", "/users"), ("/api", "/"), ("/apis", "/apis"), ("/x", "/x")];
        for (path, expected) in cases {
            assert_eq!(changed(&route, path), expected);
        }
    }

    #[test]
    fn a_prefix_is_swapped_for_another() {
        let route = |new: &str| Route {
            path: Some(PathPattern::Prefix("/api".into())),
            prefix: PrefixChange::Replace(new.into()),
            ..Route::any()
        };
        assert_eq!(changed(&route("/v2"), "/api/users"), "/v2/users");
        assert_eq!(changed(&route("/v2"), "/api"), "/v2");
        assert_eq!(changed(&route(""), "/api"), "/");
    }
}
