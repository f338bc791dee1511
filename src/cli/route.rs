//! `ringgate route`: which route a request takes, and why it takes no earlier one.

#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::path::PathBuf;

use serde_json::json;

use crate::http::authority::Authority;
use crate::http::target;
use crate::proxy::route::{Mismatch, Question, RouteTable};
use crate::proxy::settings::{Action, HostPattern, Listener, PathPattern, Route, Settings};

#[derive(clap::Args)]
pub(super) struct Options {
    /// What is asked for, such as https://api.example.com/v1/users.
    url: String,
    /// Configuration file [default: as for serve].
    #[arg(short, long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    #[arg(long, value_name = "METHOD", default_value = "GET")]
    method: String,
    /// A field of the request; may be given several times.
    #[arg(long, value_name = "NAME: VALUE", value_parser = field)]
    header: Vec<(String, String)>,
    /// The client's address, for allow and deny.
    #[arg(long, value_name = "IP")]
    client: Option<IpAddr>,
    /// Which listener it comes to [default: the one on the URL's port, or the only one].
    #[arg(long, value_name = "NAME")]
    listener: Option<String>,
    /// Print the findings as JSON.
    #[arg(long)]
    json: bool,
}

fn field(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("write NAME: VALUE")?;
    Ok((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
}

/// What a URL says about a request.
struct Asked {
    /// In lower case; empty if the URL is only a path.
    host: String,
    port: Option<u16>,
    /// Normalised, as routes see it.
    path: String,
}

/// The findings, as text or JSON.
///
/// # Errors
///
/// A sentence about why there are none: no request could have this URL, or the listener is not
/// clear.
pub(super) fn explain(options: &Options, settings: &Settings) -> Result<String, String> {
    let asked = read_url(&options.url)?;
    let listener = choose_listener(options, &asked, &settings.listeners)?;
    let question = Question {
        listener,
        host: asked.host.as_bytes(),
        path: asked.path.as_bytes(),
        method: options.method.as_bytes(),
    };
    let field = |name: &str| {
        let mut fields = options.header.iter();
        fields.find(|(is, _)| is == name).map(|(_, value)| value.as_bytes())
    };
    let table = RouteTable::compile(settings);
    let looked_at = table.explain(&question, field);
    let findings: Vec<_> =
        looked_at.into_iter().map(|(route, why)| Finding::of(route, why, settings)).collect();
    let listener = &settings.listeners[listener].name;
    let report = Report { options, asked: &asked, listener, findings, settings };
    Ok(if options.json { report.to_json() } else { report.to_text() })
}

fn read_url(url: &str) -> Result<Asked, String> {
    let schemes = [("http://", 80), ("https://", 443)];
    let scheme = schemes.iter().find(|(scheme, _)| url.starts_with(scheme));
    let rest = scheme.map_or(url, |(scheme, _)| &url[scheme.len()..]);
    let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let (path, _) = target.split_once('?').unwrap_or((target, ""));
    let authority = match authority {
        "" if scheme.is_none() => None,
        text => Some(Authority::parse(text.as_bytes()).ok_or_else(|| {
            format!("{text:?} is not a host with an optional port, so it would be refused")
        })?),
    };
    let mut normal = Vec::new();
    let changed = target::normalise(path.as_bytes(), &mut normal).map_err(|refusal| {
        format!("the path is refused with {}: {}", refusal.status(), refusal.explanation())
    })?;
    let normal = if changed { normal } else { path.as_bytes().to_vec() };
    Ok(Asked {
        host: authority.map_or_else(String::new, |authority| {
            String::from_utf8_lossy(authority.host).to_ascii_lowercase()
        }),
        port: authority.and_then(|authority| authority.port).or(scheme.map(|(_, port)| *port)),
        path: String::from_utf8_lossy(&normal).into_owned(),
    })
}

fn choose_listener(
    options: &Options,
    asked: &Asked,
    listeners: &[Listener],
) -> Result<usize, String> {
    let names = || listeners.iter().map(|listener| &*listener.name).collect::<Vec<_>>().join(", ");
    if let Some(name) = &options.listener {
        let found = listeners.iter().position(|listener| listener.name == *name);
        return found.ok_or_else(|| format!("there is no listener {name}; there are: {}", names()));
    }
    let is_meant = |listener: &&Listener| Some(listener.bind.port()) == asked.port;
    match listeners.iter().filter(is_meant).count() {
        1 => Ok(listeners.iter().position(|listener| is_meant(&listener)).unwrap_or(0)),
        _ if listeners.len() == 1 => Ok(0),
        _ => Err(format!(
            "the URL's port is not that of exactly one listener; choose with --listener: {}",
            names()
        )),
    }
}

/// One route that was looked at.
struct Finding<'s> {
    route: &'s Route,
    /// Why it does not take the request.
    why_not: Option<String>,
}

impl<'s> Finding<'s> {
    fn of(route: &'s Route, mismatch: Option<Mismatch<'_>>, settings: &Settings) -> Self {
        Self { route, why_not: mismatch.map(|mismatch| why_not(route, mismatch, settings)) }
    }
}

fn why_not(route: &Route, mismatch: Mismatch<'_>, settings: &Settings) -> String {
    match mismatch {
        Mismatch::Listener => match route.listener {
            Some(index) => format!("is for listener {}", settings.listeners[index].name),
            None => "is for another listener".to_owned(),
        },
        Mismatch::Host => match &route.host {
            Some(HostPattern::Suffix(suffix)) => format!("the host is not *{suffix}"),
            Some(HostPattern::Exact(host)) => format!("the host is not {host}"),
            None => "the host does not match".to_owned(),
        },
        Mismatch::Path => match &route.path {
            Some(PathPattern::Prefix(prefix)) => format!("the path is not {prefix} nor below it"),
            Some(PathPattern::Exact(path)) => format!("the path is not {path}"),
            Some(PathPattern::Regex(regex)) => {
                format!("the path does not match {}", regex.source())
            }
            None => "there is no path".to_owned(),
        },
        Mismatch::Method => format!("the method is not {}", route.methods.join(" or ")),
        Mismatch::Header(name) => {
            let wanted = route.headers.iter().find(|(is, _)| is == name);
            let wanted = wanted.map_or("", |(_, value)| value);
            format!("the field {name} is not {wanted:?}")
        }
        Mismatch::Page => "the path is none of its ops pages".to_owned(),
    }
}

struct Report<'s> {
    options: &'s Options,
    asked: &'s Asked,
    listener: &'s str,
    findings: Vec<Finding<'s>>,
    settings: &'s Settings,
}

impl Report<'_> {
    fn matched(&self) -> Option<&Route> {
        let last = self.findings.last()?;
        last.why_not.is_none().then_some(last.route)
    }

    fn to_text(&self) -> String {
        let Self { options, asked, listener, findings, .. } = self;
        let mut text = format!("{} {}{} on {listener}\n", options.method, asked.host, asked.path);
        for (index, finding) in findings.iter().enumerate() {
            let why = finding.why_not.as_deref().unwrap_or("MATCHES");
            text += &format!("  route[{index}] {}: {why}\n", finding.route.label());
        }
        text + "=> " + &self.outcome()
    }

    fn to_json(&self) -> String {
        let routes = self.findings.iter().enumerate().map(|(index, finding)| {
            let Finding { route, why_not } = finding;
            json!({ "index": index, "route": route.label(), "why_not": why_not })
        });
        json!({
            "listener": self.listener,
            "method": self.options.method,
            "host": self.asked.host,
            "path": self.asked.path,
            "routes": routes.collect::<Vec<_>>(),
            "matches": self.matched().map(|_| self.findings.len() - 1),
            "outcome": self.outcome(),
        })
        .to_string()
    }

    /// What becomes of the request.
    fn outcome(&self) -> String {
        let Some(route) = self.matched() else { return "404, no route matches".to_owned() };
        if let Some(refused) = self.refusal(route) {
            return refused;
        }
        let (prefix, rest) = route.change_prefix(self.asked.path.as_bytes());
        let path = format!("{prefix}{}", String::from_utf8_lossy(rest));
        match &route.action {
            Action::Cluster(index) => {
                format!("cluster {}, as {path}", self.settings.clusters[*index].name)
            }
            Action::Ai => "the AI API: the model named in the body decides".to_owned(),
            Action::Ops(_) => format!("the admin server, as {path}"),
            Action::Respond(response) => format!("answered here with {}", response.status),
            Action::Redirect(redirect) => format!("answered here with {}", redirect.status),
        }
    }

    fn refusal(&self, route: &Route) -> Option<String> {
        let is_open = route.allow.is_empty() && route.deny.is_empty();
        match self.options.client {
            _ if is_open => None,
            Some(client) if route.admits(client) => None,
            Some(client) => Some(format!("403, the route is not open to {client}")),
            None => Some(
                "depends on the client's address: the route has allow or deny; try --client IP"
                    .to_owned(),
            ),
        }
    }
}
