//! Why a handshake did not come to its end.

use std::fmt;
use std::io;

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage, PeerIncompatible};

/// A failed handshake: its kind for counters, its cause for the log.
#[derive(Debug)]
pub struct HandshakeFailure {
    pub fault: HandshakeFault,
    cause: Cause,
}

#[derive(Debug)]
enum Cause {
    Tls(Error),
    Io(io::Error),
}

macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident $label:literal)*) => {
        /// What kind of failure it was: the label `reason` of a counter.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum HandshakeFault {
            $($(#[$doc])* $name,)*
        }

        impl HandshakeFault {
            /// All labels, in the order of the discriminants.
            pub const LABELS: &'static [&'static str] = &[$($label),*];
        }
    };
}

faults! {
    /// The time was over.
    TimedOut "timeout"
    /// The peer went away in the middle.
    Closed "closed"
    /// Its first bytes are an HTTP request.
    PlainHttp "plain_http"
    /// Its first bytes are no TLS record.
    NotTls "not_tls"
    /// No version of TLS that both sides have.
    Version "version"
    /// No cipher suite, group or signature scheme that both sides have.
    NothingInCommon "nothing_in_common"
    /// No protocol that both sides have (ALPN).
    Protocol "protocol"
    /// A client certificate is required, and there is none.
    NoClientCertificate "no_client_certificate"
    /// The peer's certificate does not pass.
    Certificate "certificate"
    /// The peer does not accept our certificate.
    CertificateRefused "certificate_refused"
    /// The peer gave up for another reason.
    Alert "alert"
    /// The peer does not keep to the protocol.
    Misbehaved "misbehaved"
}

impl HandshakeFault {
    pub fn label(self) -> &'static str {
        Self::LABELS[self as usize]
    }

    fn of(error: &Error) -> Self {
        match error {
            Error::InvalidMessage(
                InvalidMessage::InvalidContentType
                | InvalidMessage::UnknownProtocolVersion
                | InvalidMessage::MessageTooLarge,
            ) => Self::NotTls,
            Error::PeerIncompatible(
                PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
                | PeerIncompatible::SupportedVersionsExtensionRequired
                | PeerIncompatible::Tls12NotOffered
                | PeerIncompatible::Tls12NotOfferedOrEnabled,
            ) => Self::Version,
            Error::PeerIncompatible(_) => Self::NothingInCommon,
            Error::NoApplicationProtocol => Self::Protocol,
            Error::NoCertificatesPresented => Self::NoClientCertificate,
            Error::InvalidCertificate(_) => Self::Certificate,
            Error::AlertReceived(alert) => Self::of_alert(*alert),
            _ => Self::Misbehaved,
        }
    }

    /// RFC 8446, 6.2.
    fn of_alert(alert: AlertDescription) -> Self {
        match alert {
            AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA => Self::CertificateRefused,
            AlertDescription::ProtocolVersion => Self::Version,
            AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => {
                Self::NothingInCommon
            }
            AlertDescription::NoApplicationProtocol => Self::Protocol,
            AlertDescription::CertificateRequired => Self::NoClientCertificate,
            _ => Self::Alert,
        }
    }
}

impl HandshakeFailure {
    /// `plain_http`: the first bytes were those of an HTTP request.
    pub(super) fn tls(error: Error, plain_http: bool) -> Self {
        let fault = match HandshakeFault::of(&error) {
            HandshakeFault::NotTls if plain_http => HandshakeFault::PlainHttp,
            fault => fault,
        };
        Self { fault, cause: Cause::Tls(error) }
    }

    pub(super) fn io(error: io::Error) -> Self {
        let fault = match error.kind() {
            io::ErrorKind::TimedOut => HandshakeFault::TimedOut,
            _ => HandshakeFault::Closed,
        };
        Self { fault, cause: Cause::Io(error) }
    }
}

/// For the log: what was wrong, in words that an operator can act on.
impl fmt::Display for HandshakeFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            Cause::Tls(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
                f.write_str("the peer's certificate was issued by nobody in the configured ca")
            }
            Cause::Tls(_)
                if matches!(self.fault, HandshakeFault::NotTls | HandshakeFault::PlainHttp) =>
            {
                f.write_str("the peer does not speak TLS")
            }
            Cause::Tls(error) => write!(f, "{error}"),
            Cause::Io(error) if error.kind() == io::ErrorKind::TimedOut => {
                f.write_str("the handshake took too long")
            }
            Cause::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                f.write_str("the peer closed the connection during the handshake")
            }
            Cause::Io(error) => write!(f, "{error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_has_its_label() {
        assert_eq!(HandshakeFault::TimedOut.label(), "timeout");
        assert_eq!(HandshakeFault::Misbehaved.label(), "misbehaved");
        assert_eq!(HandshakeFault::Misbehaved as usize + 1, HandshakeFault::LABELS.len());
    }

    #[test]
    fn plain_http_is_told_from_other_bytes_that_are_no_tls() {
        let not_tls = || Error::InvalidMessage(InvalidMessage::InvalidContentType);
        assert_eq!(HandshakeFailure::tls(not_tls(), true).fault, HandshakeFault::PlainHttp);
        assert_eq!(HandshakeFailure::tls(not_tls(), false).fault, HandshakeFault::NotTls);
    }
}
