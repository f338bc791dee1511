//! Which route a request takes: the first in file order whose conditions all hold.
//!
//! `conditions` says what that means, one route at a time. `index` finds the same route without
//! looking at those whose host or path cannot match; `paths` is its part that knows paths.

mod conditions;
mod hash;
mod index;
mod paths;
mod prefix;
mod regex;
#[cfg(test)]
mod tests;

pub use self::conditions::Mismatch;
use self::index::RouteIndex;
use self::paths::Search;
pub use self::regex::PathRegex;
use super::settings::{Route, Settings};

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
    index: RouteIndex,
}

impl RouteTable {
    pub fn compile(settings: &Settings) -> Self {
        Self::of(settings.routes.clone())
    }

    fn of(routes: Vec<Route>) -> Self {
        Self { index: RouteIndex::of(&routes), routes }
    }

    pub(super) fn get(&self, index: usize) -> &Route {
        &self.routes[index]
    }

    /// The first matching route, as an index into [`Settings::routes`]. `field` gives the value of a
    /// request field by its name.
    ///
    /// Takes as long as the host has labels and the path has segments, however many routes there
    /// are; beyond that, as long as there are routes with the same host and path, and expressions.
    pub fn find<'f>(
        &self,
        question: &Question<'_>,
        field: impl Fn(&str) -> Option<&'f [u8]>,
    ) -> Option<usize> {
        let accepts = |route: usize| {
            let mismatch = self.routes[route].mismatch_beyond_path(question, &field);
            mismatch.is_none()
        };
        let mut search = Search::new(accepts);
        self.index.search(question, &mut search);
        search.found()
    }

    /// Every route up to the one that matches, with the first condition that does not hold.
    pub fn explain<'f>(
        &self,
        question: &Question<'_>,
        field: impl Fn(&str) -> Option<&'f [u8]>,
    ) -> Vec<(&Route, Option<Mismatch<'_>>)> {
        let mut explained = Vec::new();
        for route in &self.routes {
            let mismatch = route.mismatch(question, &field);
            let matches = mismatch.is_none();
            explained.push((route, mismatch));
            if matches {
                break;
            }
        }
        explained
    }
}
