//! Field names that the engine knows, told by one compare later on.

use super::syntax::is_name;

macro_rules! field_names {
    ($($name:ident $text:literal)*) => {
        /// Which field a name stands for, whatever its case.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum FieldName {
            $($name,)*
            /// A name that the engine has no use for.
            Other,
        }

        const KNOWN: &[(FieldName, &str)] = &[$((FieldName::$name, $text)),*];
    };
}

field_names! {
    Host "host"
    ContentLength "content-length"
    TransferEncoding "transfer-encoding"
    Connection "connection"
    KeepAlive "keep-alive"
    ProxyConnection "proxy-connection"
    Te "te"
    Trailer "trailer"
    Upgrade "upgrade"
    Expect "expect"
    Http2Settings "http2-settings"
    Proxy "proxy"

    Forwarded "forwarded"
    XForwardedFor "x-forwarded-for"
    XForwardedProto "x-forwarded-proto"
    XForwardedHost "x-forwarded-host"
    XForwardedPort "x-forwarded-port"
    XForwardedPrefix "x-forwarded-prefix"
    XForwardedServer "x-forwarded-server"
    XRealIp "x-real-ip"
    Via "via"

    Authorization "authorization"
    WwwAuthenticate "www-authenticate"
    ProxyAuthorization "proxy-authorization"
    ProxyAuthenticate "proxy-authenticate"
    XApiKey "x-api-key"
    ApiKey "api-key"
    XGoogApiKey "x-goog-api-key"
    Cookie "cookie"
    SetCookie "set-cookie"

    ContentType "content-type"
    ContentEncoding "content-encoding"
    ContentRange "content-range"
    Accept "accept"
    AcceptEncoding "accept-encoding"
    CacheControl "cache-control"
    Range "range"
    Location "location"
    UserAgent "user-agent"
    Referer "referer"
    Origin "origin"
    XRequestId "x-request-id"
    Traceparent "traceparent"
    Date "date"
    Server "server"
}

impl FieldName {
    /// The known name that `name` is, whatever its case.
    pub fn of(name: &[u8]) -> Self {
        let Some(slot) = slot(name) else { return Self::Other };
        match TABLE[slot] {
            Some((known, text)) if is_name(name, text.as_bytes()) => known,
            _ => Self::Other,
        }
    }

    /// Never forwarded, whether Connection names it or not (RFC 9110, 7.6.1). Trailer is not
    /// among them: it announces trailers, which are forwarded.
    pub fn is_hop_by_hop(self) -> bool {
        matches!(
            self,
            Self::Connection
                | Self::KeepAlive
                | Self::ProxyConnection
                | Self::Te
                | Self::TransferEncoding
                | Self::Upgrade
                | Self::Http2Settings
                | Self::ProxyAuthorization
                | Self::ProxyAuthenticate
                // No standard has it, and CGI programs take it for the variable HTTP_PROXY.
                | Self::Proxy
        )
    }

    /// Decides where a message ends, where it goes, whose it is or what it holds: no peer may
    /// have it dropped by naming it in Connection, nor smuggle it in under a look-alike.
    pub fn is_protected(self) -> bool {
        matches!(
            self,
            Self::Host
                | Self::ContentLength
                | Self::TransferEncoding
                | Self::Expect
                | Self::Forwarded
                | Self::XForwardedFor
                | Self::XForwardedProto
                | Self::XForwardedHost
                | Self::XForwardedPort
                | Self::XForwardedPrefix
                | Self::XForwardedServer
                | Self::XRealIp
                | Self::Via
                | Self::Authorization
                | Self::ProxyAuthorization
                | Self::XApiKey
                | Self::ApiKey
                | Self::XGoogApiKey
                | Self::Cookie
                | Self::SetCookie
                | Self::ContentType
                | Self::ContentEncoding
                | Self::ContentRange
        )
    }

    /// Whether a field of this name may be forwarded behind a body. The engine knows by name what
    /// frames, routes, identifies or describes: there it has no effect, or a dangerous one.
    pub(super) fn is_trailer(name: &[u8]) -> bool {
        Self::of(name) == Self::Other && !Self::has_twin(name)
    }

    /// Whether `name`, which is not known itself, is a twin of a field that matters: servers that
    /// hand fields over as CGI variables read `Content_Length` as Content-Length.
    pub(super) fn has_twin(name: &[u8]) -> bool {
        if name.len() > TWIN_BYTES_MAX || memchr::memchr(b'_', name).is_none() {
            return false;
        }
        let mut hyphened = [0; TWIN_BYTES_MAX];
        let hyphened = &mut hyphened[..name.len()];
        hyphened.copy_from_slice(name);
        hyphened.iter_mut().filter(|byte| **byte == b'_').for_each(|byte| *byte = b'-');

        let twin = Self::of(trim_hyphens(hyphened));
        twin.is_protected() || twin.is_hop_by_hop()
    }
}

/// Longer than every known name, with room for some underscores at the ends.
const TWIN_BYTES_MAX: usize = 32;

fn trim_hyphens(mut name: &[u8]) -> &[u8] {
    while let [b'-', rest @ ..] | [rest @ .., b'-'] = name {
        name = rest;
    }
    name
}

/// Every known name in its slot.
static TABLE: [Option<(FieldName, &str)>; SLOTS] = {
    let mut table = [None; SLOTS];
    let mut at = 0;
    while at < KNOWN.len() {
        let Some(slot) = slot(KNOWN[at].1.as_bytes()) else { panic!("a known name is too short") };
        assert!(table[slot].is_none(), "two known names share a slot: change the sum in `slot`");
        table[slot] = Some(KNOWN[at]);
        at += 1;
    }
    table
};

const SLOTS: usize = 128;

/// The only slot that `name` can be in. The factors were searched for until every known name
/// had a slot of its own, which the compiler checks above.
const fn slot(name: &[u8]) -> Option<usize> {
    if name.len() < 2 {
        return None;
    }
    let first = lower(name[0]);
    let before_last = lower(name[name.len() - 2]);
    let last = lower(name[name.len() - 1]);
    Some((name.len() * 5 + first + before_last * 4 + last * 23) % SLOTS)
}

/// Makes letters lower case; what it does to other bytes is the same each time.
const fn lower(byte: u8) -> usize {
    (byte | 0x20) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_name_is_found_in_any_case() {
        for &(name, text) in KNOWN {
            assert_eq!(FieldName::of(text.as_bytes()), name);
            assert_eq!(FieldName::of(text.to_ascii_uppercase().as_bytes()), name);
        }
    }

    #[test]
    fn other_names_are_not_taken_for_known_ones() {
        for name in ["", "h", "hosts", "hos", "x-forwarded-fox", "content_length", "ho\x73t\0"] {
            assert_eq!(FieldName::of(name.as_bytes()), FieldName::Other, "{name}");
        }
    }

    #[test]
    fn underscores_do_not_hide_a_name_that_matters() {
        for name in ["Content_Length", "transfer-Encoding_", "_HOST", "X_Api-Key", "keep_alive"] {
            assert!(FieldName::has_twin(name.as_bytes()), "{name}");
        }
        for name in ["user_agent", "x_custom", "_", "content-length", "x-host"] {
            assert!(!FieldName::has_twin(name.as_bytes()), "{name}");
        }
    }
}
