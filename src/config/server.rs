//! `[server]` and `[admin]`.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::reader::Value;
use super::section::Section;
use super::{address, units};
use crate::proxy::settings::{Admin, Io, RuntimeChanges, Secret, Server};

/// More than any machine has CPUs.
const WORKERS_MAX: u64 = 1024;

/// What orchestrators grant between TERM and KILL by default (Kubernetes: 30 s).
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

/// A start takes well under a second, names that do not resolve one more.
const HANDOVER_TIMEOUT: Duration = Duration::from_secs(30);

/// Some 250 requests of 1 MiB at one time: far more than models serve at once.
const BUFFERED: u64 = 256 << 20;
/// Less could refuse a single ordinary AI request.
const BUFFERED_MIN: u64 = 1 << 20;
const BUFFERED_MAX: u64 = 1 << 40;

/// Beside the usual ports of services, and on this machine only.
const ADMIN_BIND: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9901);

pub(super) fn server(section: &mut Section<'_>) -> Server {
    Server {
        workers: section.take("workers", workers).flatten(),
        io: section.take("io", io).unwrap_or(Io::Auto),
        drain_timeout: section.take("drain_timeout", units::duration).unwrap_or(DRAIN_TIMEOUT),
        handover_timeout: section
            .take("handover_timeout", units::duration)
            .unwrap_or(HANDOVER_TIMEOUT),
        buffered: section
            .take("buffered", |value| units::size(value, BUFFERED_MIN..=BUFFERED_MAX))
            .unwrap_or(BUFFERED),
    }
}

/// `Some(None)` is `"auto"`.
fn workers(value: &Value<'_>) -> Option<Option<usize>> {
    if value.is_integer() {
        let count = value.integer(1..=WORKERS_MAX)?;
        return Some(usize::try_from(count).ok());
    }
    value.parse("\"auto\" or a number of threads", |text| match text {
        "auto" => Ok(None),
        _ => Err("Write \"auto\", or a number without quotes.".to_owned()),
    })
}

fn io(value: &Value<'_>) -> Option<Io> {
    value.choice(&[("auto", Io::Auto), ("io_uring", Io::IoUring), ("epoll", Io::Epoll)], &[])
}

impl Default for Admin {
    fn default() -> Self {
        Self { bind: ADMIN_BIND, token: None, runtime_changes: RuntimeChanges::Keep }
    }
}

pub(super) fn admin(section: &mut Section<'_>) -> Admin {
    let token = section.take("token", token);
    let has_token = section.at().child("token").is_present();
    let bind = section.take("bind", |value| {
        let bind = value.parse("an address such as \"127.0.0.1:9901\"", address::bind)?;
        if !bind.ip().to_canonical().is_loopback() {
            value.warning(match has_token {
                true => {
                    "Other machines can reach the admin server, which sends in the clear: a token \
                     that travels there can be read on its way.\n\
                     Bind it to 127.0.0.1, or to a network that only you use."
                }
                false => {
                    "Other machines can reach the admin server, which asks for no credentials.\n\
                     Bind it to 127.0.0.1, and open pages to others by a route with ops."
                }
            });
        }
        Some(bind)
    });
    let runtime_changes = section.take("runtime_changes", |value| {
        let (keep, until_reload) = (RuntimeChanges::Keep, RuntimeChanges::UntilReload);
        value.choice(&[("keep", keep), ("until_reload", until_reload)], &[])
    });
    let default = Admin::default();
    Admin {
        bind: bind.unwrap_or(default.bind),
        token,
        runtime_changes: runtime_changes.unwrap_or(default.runtime_changes),
    }
}

/// Fewer characters can be tried out.
const TOKEN_CHARS_MIN: usize = 24;
/// Fewer different ones are no random text: of 24 random hexadecimal digits 8 or more differ but in
/// one of 10,000 cases.
const TOKEN_CHARS_DIFFERENT_MIN: usize = 8;

fn token(value: &Value<'_>) -> Option<Secret> {
    let what = "a string such as \"${ADMIN_TOKEN}\" or \"${file:PATH}\"";
    let token = value.hidden().parse(what, |text| {
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(
                "The token has a space, a line end or a character outside ASCII.".to_owned()
            );
        }
        let different: HashSet<u8> = text.bytes().collect();
        if text.len() < TOKEN_CHARS_MIN || different.len() < TOKEN_CHARS_DIFFERENT_MIN {
            return Err(format!(
                "The token can be guessed: it needs {TOKEN_CHARS_MIN} characters, \
                 {TOKEN_CHARS_DIFFERENT_MIN} of them different.\n\
                 Make one with `openssl rand -hex 32`."
            ));
        }
        Ok(text.to_owned())
    });
    token.map(Secret)
}
