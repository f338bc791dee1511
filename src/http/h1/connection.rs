//! What a peer says about this connection, and which fields it wants dropped with it
//! (RFC 9110, 7.6.1).

use crate::http::field_name::FieldName;
use crate::http::fields::Fields;
use crate::http::message::Version;
use crate::http::refusal::Refusal;
use crate::http::syntax::{is_token, members};

/// The options of Connection that mean something by themselves.
#[derive(Default)]
pub(super) struct Options {
    close: bool,
    keep_alive: bool,
    upgrade: bool,
}

/// Each option is compared with each field, so their number is bounded. Browsers send two.
const OPTIONS_MAX: usize = 32;

/// Reads every Connection field, and marks the fields they name as hop-by-hop.
pub(super) fn read(bytes: &[u8], fields: &mut Fields) -> Result<Options, Refusal> {
    let mut options = Options::default();
    if !fields.has(FieldName::Connection) {
        return Ok(options);
    }
    let mut count = 0;
    for index in 0..fields.len() {
        let field = fields.as_slice()[index];
        if field.known != FieldName::Connection {
            continue;
        }
        for option in members(field.value.of(bytes)) {
            count += 1;
            if count > OPTIONS_MAX {
                return Err(Refusal::ConnectionInvalid);
            }
            options.take(bytes, option, fields)?;
        }
    }
    Ok(options)
}

impl Options {
    /// Whether the peer wants to go on after this message (RFC 9112, 9.3).
    pub(super) fn keep_alive(&self, version: Version) -> bool {
        match version {
            Version::Http11 => !self.close,
            Version::Http10 => self.keep_alive && !self.close,
        }
    }

    /// Whether the fields ask for, or confirm, another protocol that may be relayed. Other
    /// versions of HTTP are not: their requests would pass unseen through the same connection.
    pub(super) fn names_upgrade(&self, bytes: &[u8], fields: &Fields) -> bool {
        let Some(field) = fields.first(FieldName::Upgrade) else { return false };
        self.upgrade
            && !fields.is_repeated(FieldName::Upgrade)
            && members(field.value.of(bytes)).all(is_foreign_protocol)
    }

    fn take(&mut self, bytes: &[u8], option: &[u8], fields: &mut Fields) -> Result<(), Refusal> {
        if option.eq_ignore_ascii_case(b"close") {
            self.close = true;
        } else if option.eq_ignore_ascii_case(b"keep-alive") {
            self.keep_alive = true;
        } else if option.eq_ignore_ascii_case(b"upgrade") {
            self.upgrade = true;
        } else if !option.is_empty() {
            nominate(bytes, option, fields)?;
        }
        Ok(())
    }
}

fn nominate(bytes: &[u8], name: &[u8], fields: &mut Fields) -> Result<(), Refusal> {
    if !is_token(name) {
        return Err(Refusal::ConnectionInvalid);
    }
    if FieldName::of(name).is_protected() || FieldName::has_twin(name) {
        return Err(Refusal::ConnectionNamesProtected);
    }
    fields.nominate(bytes, name);
    Ok(())
}

/// Such as `websocket`; `name` or `name/version`.
fn is_foreign_protocol(protocol: &[u8]) -> bool {
    let mut parts = protocol.splitn(2, |&byte| byte == b'/');
    let name = parts.next().unwrap_or_default();
    let is_http =
        [&b"http"[..], b"h2", b"h2c", b"h3"].iter().any(|own| own.eq_ignore_ascii_case(name));
    is_token(name) && parts.all(is_token) && !is_http
}
