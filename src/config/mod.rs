//! A TOML file becomes [`Settings`], or a report of everything that is wrong with it.
//!
//! The file is walked by hand instead of by serde, which stops at the first problem. `reader` and
//! `section` do the walking; each part of the file has a module named after it; `checks` looks at
//! what can be wrong between parts. Every value that passes has a unit, a range and a default.

mod action;
mod address;
mod balance;
mod checks;
mod cluster;
mod cover;
mod error_page;
mod expand;
mod fields;
mod health;
mod limit;
mod listener;
mod log;
mod model;
mod name;
mod passive;
mod pattern;
mod problem;
mod reader;
mod retry;
mod redirect;
mod resolver;
mod route;
mod section;
mod server;
mod sticky;
#[cfg(test)]
mod tests;
mod tls;
mod unavailable;
mod units;

use std::fs::File;
use std::io::Read;
use std::path::Path;

use toml::de::DeTable;

pub use self::address::parse_bind;
pub use self::cluster::WEIGHT_MAX;
use self::expand::Surroundings;
use self::model::NamedModel;
pub use self::problem::{Finding, Place, Report};
use self::reader::{Source, Value};
use self::route::Names;
use self::section::{Placed, Section};
pub use self::units::parse_duration;
pub use crate::net::tls::Chain;
pub use crate::proxy::settings::{Admin, Settings};
use crate::proxy::settings::{Cluster, Model};

/// A configuration of ten thousand routes is a tenth of it.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// What is no TOML at all has a problem on every line.
const SYNTAX_PROBLEMS_MAX: usize = 20;

/// A file that can be used.
#[derive(Debug)]
pub struct Loaded {
    pub settings: Settings,
    /// Without problems; its warnings are for the operator.
    pub report: Report,
}

/// Reads and checks the file at `path`. `env` looks up environment variables.
///
/// # Errors
///
/// Everything that is wrong with the file, at once.
pub fn load(path: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Loaded, Report> {
    let name = path.display().to_string();
    match read(path) {
        Ok(text) => from_str(&name, &text, env),
        Err(why) => Err(Report::unreadable(&name, why)),
    }
}

fn read(path: &Path) -> Result<String, String> {
    let cannot_read = |error: std::io::Error| format!("Cannot read the file: {error}.");
    let file = File::open(path).map_err(cannot_read)?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(cannot_read)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err("The file is longer than 16 MiB.".to_owned());
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        format!("The file is not UTF-8 text: byte {valid} (from 0) does not belong there.")
    })
}

/// Checks a file's text. `name` stands in messages, and its directory is where relative paths in
/// `${file:PATH}` begin.
///
/// # Errors
///
/// Everything that is wrong with the text, at once.
pub fn from_str(
    name: &str,
    text: &str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Loaded, Report> {
    let directory = Path::new(name).parent().unwrap_or(Path::new(""));
    let source = Source::new(name, text, Surroundings { env, directory });
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors.iter().take(SYNTAX_PROBLEMS_MAX) {
        let offset = error.span().map_or(0, |span| span.start);
        source.syntax_problem(offset, error.message());
    }
    // What could be recovered from broken text would have problems of its own.
    let settings = errors.is_empty().then(|| {
        let document = Value::document(&source, table.get_ref());
        document.section(settings)
    });
    let settings = settings.flatten();
    let report = source.into_report();
    match settings {
        Some(settings) if report.problems.is_empty() => Ok(Loaded { settings, report }),
        _ => Err(report),
    }
}

/// Reads `[admin]` alone, for who wants to ask a running gateway: the files that the rest refers to
/// may be closed to them.
///
/// # Errors
///
/// Everything that is wrong with that section, at once.
pub fn load_admin(path: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Admin, Report> {
    let name = path.display().to_string();
    let text = read(path).map_err(|why| Report::unreadable(&name, why))?;
    let directory = path.parent().unwrap_or(Path::new(""));
    let source = Source::new(&name, &text, Surroundings { env, directory });
    let (table, errors) = DeTable::parse_recoverable(&text);
    for error in errors.iter().take(SYNTAX_PROBLEMS_MAX) {
        source.syntax_problem(error.span().map_or(0, |span| span.start), error.message());
    }
    let at = Value::document(&source, table.get_ref()).child("admin");
    let admin = if at.is_present() { at.section(server::admin) } else { Some(Admin::default()) };
    let report = source.into_report();
    match admin {
        Some(admin) if report.problems.is_empty() => Ok(admin),
        _ => Err(report),
    }
}

fn settings(root: &mut Section<'_>) -> Settings {
    let server = root.section("server", server::server);
    let admin = root.section("admin", server::admin);
    let resolver = root.section("resolver", resolver::resolver);
    let listeners = root.sections("listener", listener::listener);
    let clusters = root.named_sections("cluster", cluster::cluster);
    let models = root.named_sections("model", model::model);
    let names = Names {
        listeners: listeners.iter().map(|listener| listener.is.name.clone()).collect(),
        clusters: clusters.iter().map(|cluster| cluster.is.name.clone()).collect(),
    };
    let routes = root.sections("route", |section| route::route(section, &names));
    let limits = limit::limits(root);
    let log = root.section("log", log::log);
    let access_log = root.take("access_log", |value| value.section(log::access_log));
    let telemetry = root.section("telemetry", log::telemetry);

    if !root.at().child("listener").is_present() {
        root.at().problem("There is no listener. Add [[listener]] with a name and a bind.");
    }
    checks::names(&listeners);
    checks::binds(root.at(), &admin, &listeners);
    checks::model_names(&models);
    checks::sticky_names(&clusters);
    // Where something could not be read, a stand-in would be warned of.
    if root.at().is_all_well() {
        checks::shadowed_routes(&routes);
        checks::redirect_loops(&routes);
        checks::unrouted_listeners(&listeners, &routes);
        checks::ai_routes(&listeners, &routes, &models);
    }

    let (clusters, models) = with_model_clusters(clusters, models);
    Settings {
        server,
        admin,
        resolver,
        listeners: listeners.into_iter().map(|listener| listener.is).collect(),
        routes: routes.into_iter().map(|route| route.is).collect(),
        clusters,
        models,
        limits,
        log,
        access_log,
        telemetry,
    }
}

/// The named clusters, then one for each model.
fn with_model_clusters(
    clusters: Vec<Placed<'_, Cluster>>,
    named: Vec<Placed<'_, NamedModel>>,
) -> (Vec<Cluster>, Vec<Model>) {
    let mut clusters: Vec<_> = clusters.into_iter().map(|cluster| cluster.is).collect();
    let mut models = Vec::with_capacity(named.len());
    for NamedModel { name, aliases, cluster } in named.into_iter().map(|model| model.is) {
        models.push(Model { name, aliases, cluster: clusters.len() });
        clusters.push(cluster);
    }
    (clusters, models)
}
