//! Which certificate is for which name.

use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// A name in a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NamePattern {
    /// In lower case.
    Exact(String),
    /// `*.example.com`, kept as `example.com`: exactly one label in front (RFC 9525, 6.3).
    OneLabelBefore(String),
}

impl NamePattern {
    /// The DNS names in a certificate's extension for them. Its subject names nobody: clients
    /// have not looked there since 2017.
    ///
    /// # Errors
    ///
    /// A sentence for the operator: these bytes are no certificate.
    pub(super) fn all_of(certificate: &[u8]) -> Result<Vec<Self>, String> {
        let parsed = X509Certificate::from_der(certificate)
            .map_err(|error| format!("This is not an X.509 certificate: {error}."))?;
        let extension = parsed.1.subject_alternative_name();
        let extension = extension.map_err(|error| format!("Its names cannot be read: {error}."))?;
        let names = extension.iter().flat_map(|extension| &extension.value.general_names);
        let dns_name = |name: &GeneralName<'_>| match name {
            GeneralName::DNSName(name) => Some(Self::of(name)),
            _ => None,
        };
        Ok(names.filter_map(dns_name).collect())
    }

    fn of(name: &str) -> Self {
        let name = name.to_ascii_lowercase();
        match name.strip_prefix("*.") {
            Some(parent) => Self::OneLabelBefore(parent.to_owned()),
            None => Self::Exact(name),
        }
    }

    /// Whether a client that asks for `name`, in lower case, is meant.
    pub(super) fn matches(&self, name: &str) -> bool {
        match self {
            Self::Exact(exact) => exact == name,
            Self::OneLabelBefore(parent) => name
                .split_once('.')
                .is_some_and(|(label, rest)| !label.is_empty() && rest == parent),
        }
    }

    pub(super) fn is_exact(&self) -> bool {
        matches!(self, Self::Exact(_))
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    #[test]
    fn a_wildcard_stands_for_exactly_one_label() {
        let pattern = NamePattern::of("*.Example.com");
        assert!(pattern.matches("a.example.com"));
        assert!(!pattern.matches("example.com"));
        assert!(!pattern.matches("a.b.example.com"));
        assert!(!pattern.matches(".example.com"));
        assert!(!pattern.matches("aexample.com"));
    }

    #[test]
    fn the_names_of_a_certificate_are_its_alternative_names() {
        let names = ["a.example".to_owned(), "*.b.example".to_owned(), "127.0.0.1".to_owned()];
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
        let expected = [
            NamePattern::Exact("a.example".to_owned()),
            NamePattern::OneLabelBefore("b.example".to_owned()),
        ];
        assert_eq!(NamePattern::all_of(certificate.der()).unwrap(), expected);
        assert!(NamePattern::all_of(b"nothing").is_err());
    }
}
