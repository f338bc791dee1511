//! The routes of one host pattern, by their paths.

use super::hash::Names;
use super::regex::PathRegex;
use crate::proxy::settings::PathPattern;

/// A route whose host and path are known to match where it is met.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    /// Its place in the file.
    pub(super) route: usize,
    /// Host and path are not all that it asks for.
    pub(super) conditional: bool,
}

/// The first route that was met so far and accepts the request.
pub(super) struct Search<F> {
    /// `usize::MAX` if there is none.
    best: usize,
    accepts: F,
}

impl<F: Fn(usize) -> bool> Search<F> {
    /// `accepts`: whether the other conditions of a route hold.
    pub(super) fn new(accepts: F) -> Self {
        Self { best: usize::MAX, accepts }
    }

    pub(super) fn found(&self) -> Option<usize> {
        (self.best != usize::MAX).then_some(self.best)
    }

    /// Takes the first of `candidates`, which are in file order, if it comes before what was found.
    fn offer(&mut self, candidates: &[Candidate]) {
        for candidate in candidates {
            if candidate.route >= self.best {
                return;
            }
            if !candidate.conditional || (self.accepts)(candidate.route) {
                self.best = candidate.route;
                return;
            }
        }
    }
}

/// A tree of path segments, and what does not fit into one.
#[derive(Debug)]
pub(super) struct PathIndex {
    /// Routes without a path.
    any: Vec<Candidate>,
    /// The root comes first; children are found by their index.
    nodes: Vec<Node>,
    regexes: Vec<(Candidate, PathRegex)>,
}

/// A path, segment by segment from the root.
#[derive(Debug, Default)]
struct Node {
    children: Names<usize>,
    prefix: Vec<Candidate>,
    exact: Vec<Candidate>,
}

impl Default for PathIndex {
    fn default() -> Self {
        Self { any: Vec::new(), nodes: vec![Node::default()], regexes: Vec::new() }
    }
}

impl PathIndex {
    /// Adds a route; they come in file order.
    pub(super) fn insert(&mut self, path: Option<&PathPattern>, candidate: Candidate) {
        match path {
            None => self.any.push(candidate),
            Some(PathPattern::Prefix(prefix)) => self.node_of(prefix).prefix.push(candidate),
            Some(PathPattern::Exact(path)) => self.node_of(path).exact.push(candidate),
            Some(PathPattern::Regex(regex)) => self.regexes.push((candidate, regex.clone())),
        }
    }

    /// The node of a path, or of a prefix without its trailing slash.
    fn node_of(&mut self, path: &str) -> &mut Node {
        let mut at = 0;
        for segment in path.split('/').skip(1) {
            let next = self.nodes.len();
            at = *self.nodes[at].children.get_or_insert_with(segment.as_bytes(), || next);
            if at == next {
                self.nodes.push(Node::default());
            }
        }
        &mut self.nodes[at]
    }

    /// Offers the routes whose path matches, but for those with an expression.
    pub(super) fn search(&self, path: &[u8], search: &mut Search<impl Fn(usize) -> bool>) {
        search.offer(&self.any);
        let [b'/', segments @ ..] = path else { return };
        let mut at = &self.nodes[0];
        search.offer(&at.prefix);
        for segment in segments.split(|&byte| byte == b'/') {
            let Some(&child) = at.children.get(segment) else { return };
            at = &self.nodes[child];
            search.offer(&at.prefix);
        }
        search.offer(&at.exact);
    }

    /// Offers the routes whose expression matches. Only those that could still come first are
    /// tried, and only if all else about them fits.
    pub(super) fn search_regexes(&self, path: &[u8], search: &mut Search<impl Fn(usize) -> bool>) {
        for (candidate, regex) in &self.regexes {
            if candidate.route >= search.best {
                return;
            }
            let fits = !candidate.conditional || (search.accepts)(candidate.route);
            if fits && regex.is_match(path) {
                search.best = candidate.route;
                return;
            }
        }
    }

    pub(super) fn has_regexes(&self) -> bool {
        !self.regexes.is_empty()
    }
}
