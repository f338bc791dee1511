//! Authorities that are trusted to say who somebody is.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;

use super::identity::read_certificates;

/// Where Debian, Ubuntu, Alpine and Arch keep the authorities of the system.
const SYSTEM_FILE: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Certificates of authorities, from a file.
pub struct Roots {
    pub file: PathBuf,
    certificates: Vec<CertificateDer<'static>>,
    store: Arc<RootCertStore>,
}

impl Roots {
    /// Reads a PEM file with one authority or more.
    ///
    /// # Errors
    ///
    /// Sentences for the operator.
    pub fn read(file: &Path) -> Result<Self, String> {
        let certificates = read_certificates(file)?;
        let mut store = RootCertStore::empty();
        // A system's file has authorities of kinds that nobody uses any more.
        let (usable, _) = store.add_parsable_certificates(certificates.iter().cloned());
        if usable == 0 {
            return Err(format!("None of the certificates in {} can be used.", file.display()));
        }
        Ok(Self { file: file.to_owned(), certificates, store: Arc::new(store) })
    }

    /// The authorities that this system trusts: the file that the variable SSL_CERT_FILE names,
    /// or the distribution's.
    ///
    /// # Errors
    ///
    /// Sentences for the operator.
    pub fn of_system(env: &dyn Fn(&str) -> Option<String>) -> Result<Self, String> {
        let file = env("SSL_CERT_FILE").unwrap_or_else(|| SYSTEM_FILE.to_owned());
        Self::read(Path::new(&file)).map_err(|why| {
            format!(
                "{why}\nThe system's authorities are wanted here: install the package \
                 ca-certificates, set SSL_CERT_FILE, or give tls.ca."
            )
        })
    }

    pub(super) fn store(&self) -> Arc<RootCertStore> {
        Arc::clone(&self.store)
    }

    pub(super) fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }
}

impl PartialEq for Roots {
    fn eq(&self, other: &Self) -> bool {
        self.file == other.file && self.certificates == other.certificates
    }
}

impl Eq for Roots {}

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Roots").field("file", &self.file).finish_non_exhaustive()
    }
}
