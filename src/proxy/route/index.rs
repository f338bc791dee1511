//! Finds the first matching route without looking at all of them.

use super::Question;
use super::hash::Names;
use super::paths::{Candidate, PathIndex, Search};
use crate::proxy::settings::{HostPattern, Route};

/// Routes by host pattern, and below that by path.
#[derive(Debug, Default)]
pub(super) struct RouteIndex {
    /// Routes without a host.
    any: PathIndex,
    exact: Names<PathIndex>,
    /// By what follows the `*`, such as `.example.com`.
    suffixes: Names<PathIndex>,
    has_regexes: bool,
}

impl RouteIndex {
    pub(super) fn of(routes: &[Route]) -> Self {
        let mut index = Self::default();
        for (place, route) in routes.iter().enumerate() {
            let conditional = route.has_conditions_beyond_path();
            let paths = index.paths_of(route.host.as_ref());
            paths.insert(route.path.as_ref(), Candidate { route: place, conditional });
            index.has_regexes |= paths.has_regexes();
        }
        index
    }

    fn paths_of(&mut self, host: Option<&HostPattern>) -> &mut PathIndex {
        match host {
            None => &mut self.any,
            Some(HostPattern::Exact(host)) => {
                self.exact.get_or_insert_with(host.as_bytes(), PathIndex::default)
            }
            Some(HostPattern::Suffix(suffix)) => {
                self.suffixes.get_or_insert_with(suffix.as_bytes(), PathIndex::default)
            }
        }
    }

    pub(super) fn search(
        &self,
        question: &Question<'_>,
        search: &mut Search<impl Fn(usize) -> bool>,
    ) {
        for paths in self.matching(question.host) {
            paths.search(question.path, search);
        }
        // Last, since most are then known to come too late. The target `*` is no path.
        if self.has_regexes && question.path.starts_with(b"/") {
            for paths in self.matching(question.host) {
                paths.search_regexes(question.path, search);
            }
        }
    }

    /// The routes of every host pattern that matches.
    fn matching<'s>(&'s self, host: &'s [u8]) -> impl Iterator<Item = &'s PathIndex> {
        // No suffix is longer than the longest; at least one byte must stand in front of it.
        let first = host.len().saturating_sub(self.suffixes.longest()).max(1);
        let tail = host.get(first..).unwrap_or_default();
        let dots = memchr::memchr_iter(b'.', tail);
        let suffixes = dots.filter_map(|dot| self.suffixes.get(&tail[dot..]));
        std::iter::once(&self.any).chain(self.exact.get(host)).chain(suffixes)
    }
}
