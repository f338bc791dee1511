//! `sticky`: the cookie that keeps a client with its endpoint.

use std::time::Duration;

use super::reader::Value;
use super::section::Section;
use super::{address, fields, units};
use crate::proxy::settings::{SameSite, Secret, Sticky};

/// A shorter key could be found by trying.
const KEY_BYTES_MIN: usize = 16;

pub(super) fn sticky(section: &mut Section<'_>) -> Sticky {
    let what = "the name of the cookie, such as \"SRV\"";
    let cookie = section.require("cookie", String::new(), what, |value| value.parse(what, name));
    let max_age = section.take("max_age", max_age);
    let sticky = Sticky {
        cookie,
        max_age,
        path: section.take("path", path).unwrap_or_else(|| "/".to_owned()),
        domain: section.take("domain", domain),
        secure: section.take("secure", Value::boolean).unwrap_or(false),
        http_only: section.take("http_only", Value::boolean).unwrap_or(true),
        same_site: section.take("same_site", same_site),
        indirect: section.take("indirect", Value::boolean).unwrap_or(true),
        key: section.take("key", key),
    };
    check(section, &sticky);
    sticky
}

/// What browsers would drop the cookie for (RFC 6265bis, sections 4.1.2.7 and 4.1.3).
fn check(section: &Section<'_>, sticky: &Sticky) {
    let Sticky { cookie, path, domain, secure, same_site, .. } = sticky;
    if *same_site == Some(SameSite::None) && !secure {
        section.at().child("same_site").problem(
            "Browsers take this only of a cookie with secure = true. Add it, or give \"lax\".",
        );
    }
    if (cookie.starts_with("__Secure-") || cookie.starts_with("__Host-")) && !secure {
        section.at().child("cookie").problem(
            "Browsers take a cookie of this name only with secure = true. Add it, or choose \
             another name.",
        );
    }
    if cookie.starts_with("__Host-") && (domain.is_some() || path != "/") {
        section.at().child("cookie").problem(
            "Browsers take a cookie of this name only for the path \"/\" and without a domain. \
             Leave those out, or choose another name.",
        );
    }
}

fn name(text: &str) -> Result<String, String> {
    match fields::is_token(text) {
        true => Ok(text.to_owned()),
        false => Err("A cookie's name has letters, digits and !#$%&'*+-.^_`|~ only.".to_owned()),
    }
}

fn max_age(value: &Value<'_>) -> Option<Duration> {
    let age = units::duration(value)?;
    if age.subsec_nanos() > 0 {
        value.problem("Browsers count in whole seconds. Give one or more.");
    }
    Some(age)
}

fn path(value: &Value<'_>) -> Option<String> {
    value.parse("a path such as \"/app\"", |text| {
        if !text.starts_with('/') {
            return Err("A path begins with \"/\".".to_owned());
        }
        if text.contains(';') {
            return Err("A \";\" would end the path. Leave it out.".to_owned());
        }
        address::plain_path(text)?;
        Ok(text.to_owned())
    })
}

fn domain(value: &Value<'_>) -> Option<String> {
    value.parse("a domain such as \"example.com\"", |text| {
        let name = text.to_ascii_lowercase();
        address::host_name(&name)?;
        Ok(name)
    })
}

fn same_site(value: &Value<'_>) -> Option<SameSite> {
    let known = [("strict", SameSite::Strict), ("lax", SameSite::Lax), ("none", SameSite::None)];
    value.choice(&known, &[])
}

fn key(value: &Value<'_>) -> Option<Secret> {
    let key = value.hidden().parse("a string such as \"${STICKY_KEY}\"", |text| {
        match text.len() >= KEY_BYTES_MIN {
            true => Ok(text.to_owned()),
            false => Err(format!(
                "The key could be found by trying. Give at least {KEY_BYTES_MIN} random characters, \
                 as of \"openssl rand -hex 16\"."
            )),
        }
    });
    key.map(Secret)
}
