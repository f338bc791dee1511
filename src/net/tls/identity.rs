//! Certificates and keys from files.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SigningKey};
use rustls::{Error, InconsistentKeys};

use super::names::NamePattern;
use super::provider;
use super::validity::Validity;

/// A chain is a few KiB; the authorities of a whole system are 250 KiB.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// A certificate with those that vouch for it, from a file.
pub struct Chain {
    pub file: PathBuf,
    pub validity: Validity,
    certificates: Vec<CertificateDer<'static>>,
    names: Vec<NamePattern>,
}

/// A chain with its private key: what one side shows of itself.
pub struct Identity {
    pub chain: Chain,
    key: Arc<CertifiedKey>,
}

impl Chain {
    /// Reads a PEM file: the certificate first, then the one that issued it, and so on.
    ///
    /// # Errors
    ///
    /// Sentences for the operator.
    pub fn read(file: &Path) -> Result<Self, String> {
        let certificates = read_certificates(file)?;
        let names = NamePattern::all_of(&certificates[0])?;
        let validity = Validity::of(&certificates[0])?;
        Ok(Self { file: file.to_owned(), validity, certificates, names })
    }

    /// The names that it is for, as in the certificate.
    pub(super) fn names(&self) -> &[NamePattern] {
        &self.names
    }
}

impl Identity {
    /// # Errors
    ///
    /// The key is another certificate's, in a sentence for the operator.
    pub fn new(chain: Chain, key: Arc<dyn SigningKey>) -> Result<Self, String> {
        let key = CertifiedKey::new(chain.certificates.clone(), key);
        match key.keys_match() {
            Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => {
                Ok(Self { chain, key: Arc::new(key) })
            }
            Err(_) => Err(format!(
                "This key does not belong to the certificate in {}.",
                chain.file.display()
            )),
        }
    }

    pub(super) fn certified_key(&self) -> &Arc<CertifiedKey> {
        &self.key
    }

    pub(super) fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.chain.certificates
    }
}

/// By their certificates, which name their keys.
impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        self.chain.file == other.chain.file && self.certificates() == other.certificates()
    }
}

/// Without the key.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("file", &self.chain.file).finish_non_exhaustive()
    }
}

/// Reads the private key in a PEM file: PKCS #8, PKCS #1 or SEC 1, without a passphrase.
///
/// # Errors
///
/// Sentences for the operator.
pub fn read_key(file: &Path) -> Result<Arc<dyn SigningKey>, String> {
    let pem = read(file)?;
    let is_encrypted = memchr::memmem::find(&pem, b"BEGIN ENCRYPTED PRIVATE KEY").is_some();
    let der = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| {
        let shown = file.display();
        if is_encrypted {
            format!("The key in {shown} has a passphrase, which nobody could type. Remove it.")
        } else {
            format!("There is no private key in {shown}: no section \"PRIVATE KEY\" of PEM.")
        }
    })?;
    provider().key_provider.load_private_key(der).map_err(|_| {
        format!(
            "The key in {} is of no kind that can be used: RSA from 2048 bits on, ECDSA on P-256, \
             P-384 or P-521, or Ed25519.",
            file.display()
        )
    })
}

/// At least one.
pub(super) fn read_certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let shown = file.display();
    let pem = read(file)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(format!("There is no certificate in {shown}: no section of PEM.")),
        Err(error) => Err(format!("The PEM in {shown} is damaged: {error}.")),
    }
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    let shown = file.display();
    let cannot_read = |error: std::io::Error| format!("Cannot read {shown}: {error}.");
    // Opening a named pipe would wait for its writer.
    if !std::fs::metadata(file).map_err(cannot_read)?.is_file() {
        return Err(format!("{shown} is not a regular file."));
    }
    let mut bytes = Vec::new();
    let limited = File::open(file).map_err(cannot_read)?.take(FILE_BYTES_MAX + 1);
    { limited }.read_to_end(&mut bytes).map_err(cannot_read)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("{shown} is longer than {FILE_BYTES_MAX} bytes."));
    }
    Ok(bytes)
}
