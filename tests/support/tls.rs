//! TLS for the cast: authorities made for one test, clients and origins that speak it.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
    date_time_ymd,
};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    ClientConfig, ClientConnection, CommonState, HandshakeKind, RootCertStore, ServerConfig,
    ServerConnection, SupportedProtocolVersion,
};
use tempfile::TempDir;
use time::{Duration, OffsetDateTime};

use super::PATIENCE;
use super::client::Client;
use super::wire::Wire;

/// An authority of its own, and a directory for what it issues.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    dir: TempDir,
}

/// A certificate and its key, in files and in memory.
#[derive(Clone)]
pub struct Issued {
    pub cert: PathBuf,
    pub key: PathBuf,
    pub der: CertificateDer<'static>,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names are valid names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Authorities are told apart by their names before their keys.
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("Authority {}", COUNT.fetch_add(1, Ordering::Relaxed));
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("a certificate");
        let dir = tempfile::tempdir().expect("a directory for certificates");
        fs::write(dir.path().join("ca.pem"), issuer.pem()).expect("the file is writable");
        Self { issuer, dir }
    }

    /// Its own certificate.
    pub fn file(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// A certificate for these names, in files called `file`. What had that name is replaced.
    pub fn issue(&self, file: &str, names: &[&str]) -> Issued {
        self.issue_with(file, names, |_| {})
    }

    /// The same for somebody with a name such as a client has.
    pub fn issue_to(&self, file: &str, subject: &[(DnType, &str)]) -> Issued {
        self.issue_with(file, &[], |params| {
            params.distinguished_name = DistinguishedName::new();
            for (kind, value) in subject {
                params.distinguished_name.push(kind.clone(), *value);
            }
        })
    }

    /// The same, but it expired in 2001.
    pub fn issue_expired(&self, file: &str, names: &[&str]) -> Issued {
        self.issue_with(file, names, |params| {
            params.not_before = date_time_ymd(2000, 1, 1);
            params.not_after = date_time_ymd(2001, 1, 1);
        })
    }

    /// The same, but it expires in that many days.
    pub fn issue_for_days(&self, file: &str, days: i64) -> Issued {
        self.issue_with(file, &[], |params| {
            // Some time passes until the days are counted.
            params.not_after = OffsetDateTime::now_utc() + Duration::days(days) + Duration::HOUR;
        })
    }

    fn issue_with(
        &self,
        file: &str,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Issued {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).expect("these are names");
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let at = |end: &str| self.dir.path().join(format!("{file}.{end}"));
        fs::write(at("pem"), certificate.pem()).expect("the file is writable");
        fs::write(at("key"), key.serialize_pem()).expect("the file is writable");
        Issued { cert: at("pem"), key: at("key"), der: certificate.der().clone() }
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).expect("an authority");
        roots
    }

    /// What a server with this certificate is made with.
    pub fn server(&self, issued: &Issued) -> ServerConfig {
        ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("both versions")
            .with_no_client_auth()
            .with_single_cert(vec![issued.der.clone()], issued.key_der())
            .expect("a pair that fits")
    }

    /// The same, for clients with a certificate of this authority only.
    pub fn server_for_known_clients(&self, issued: &Issued) -> ServerConfig {
        let roots = Arc::new(self.roots());
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider()).build();
        ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("both versions")
            .with_client_cert_verifier(verifier.expect("an authority"))
            .with_single_cert(vec![issued.der.clone()], issued.key_der())
            .expect("a pair that fits")
    }

    /// A client that trusts this authority alone.
    pub fn client(&self) -> TlsClient {
        self.client_with(rustls::DEFAULT_VERSIONS, None)
    }

    /// The same, with this version only.
    pub fn client_of_version(&self, version: &'static SupportedProtocolVersion) -> TlsClient {
        self.client_with(&[version], None)
    }

    /// The same, showing this certificate if it is asked.
    pub fn client_known_by(&self, issued: &Issued) -> TlsClient {
        self.client_with(rustls::DEFAULT_VERSIONS, Some(issued))
    }

    fn client_with(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        identity: Option<&Issued>,
    ) -> TlsClient {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .expect("versions that there are")
            .with_root_certificates(self.roots());
        let config = match identity {
            None => builder.with_no_client_auth(),
            Some(issued) => builder
                .with_client_auth_cert(vec![issued.der.clone()], issued.key_der())
                .expect("a pair that fits"),
        };
        TlsClient { config: Arc::new(config) }
    }
}

impl Issued {
    fn key_der(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_file(&self.key).expect("the key was just written")
    }

    /// An element of a listener's `tls`.
    pub fn element(&self) -> String {
        format!("{{ cert = {:?}, key = {:?} }}", self.cert, self.key)
    }
}

/// The line `tls` of a listener.
pub fn tls_of(issued: &[&Issued]) -> String {
    let mut line = "tls = [".to_owned();
    for issued in issued {
        write!(line, "{}, ", issued.element()).expect("writing into a String does not fail");
    }
    line + "]"
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// Remembers sessions from one connection to the next.
#[derive(Clone)]
pub struct TlsClient {
    config: Arc<ClientConfig>,
}

impl TlsClient {
    /// A connection to a server of that name, its handshake done.
    pub fn connect(&self, address: SocketAddr, name: &str) -> Client {
        self.try_connect(address, name).unwrap_or_else(|error| panic!("no TLS: {error}"))
    }

    /// The same, or why not. That a server refuses a certificate in TLS 1.3 is seen only later.
    pub fn try_connect(&self, address: SocketAddr, name: &str) -> io::Result<Client> {
        self.over(TcpStream::connect_timeout(&address, PATIENCE)?, name)
    }

    /// The same over a connection on which something else may have been sent before.
    pub fn over(&self, mut stream: TcpStream, name: &str) -> io::Result<Client> {
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut connection = self.begin(name);
        while connection.is_handshaking() {
            connection.complete_io(&mut stream)?;
        }
        let tls = Tls::Client(Box::new(connection));
        Ok(Client::over(Wire::private(stream, tls)))
    }

    /// A connection of which nothing has been sent.
    pub fn begin(&self, name: &str) -> ClientConnection {
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        ClientConnection::new(Arc::clone(&self.config), name).expect("a usable configuration")
    }
}

/// One side of a TLS connection, without its socket.
pub enum Tls {
    Client(Box<ClientConnection>),
    Server(Box<ServerConnection>),
}

impl Tls {
    pub fn state(&self) -> &CommonState {
        match self {
            Self::Client(client) => client,
            Self::Server(server) => server,
        }
    }

    pub fn is_resumed(&self) -> bool {
        self.state().handshake_kind() == Some(HandshakeKind::Resumed)
    }

    pub fn read(&mut self, stream: &mut TcpStream, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Client(client) => rustls::Stream::new(&mut **client, stream).read(bytes),
            Self::Server(server) => rustls::Stream::new(&mut **server, stream).read(bytes),
        }
    }

    pub fn write(&mut self, stream: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Client(client) => write(rustls::Stream::new(&mut **client, stream), bytes),
            Self::Server(server) => write(rustls::Stream::new(&mut **server, stream), bytes),
        }
    }

    /// The records that these bytes become, not sent.
    pub fn encrypt(&mut self, bytes: &[u8]) -> Vec<u8> {
        let Self::Client(client) = self else { panic!("only clients need that") };
        client.set_buffer_limit(None);
        client.writer().write_all(bytes).expect("memory");
        let mut records = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut records).expect("memory");
        }
        records
    }

    /// close_notify.
    pub fn say_goodbye(&mut self, stream: &mut TcpStream) {
        let said = match self {
            Self::Client(client) => {
                client.send_close_notify();
                client.write_tls(stream)
            }
            Self::Server(server) => {
                server.send_close_notify();
                server.write_tls(stream)
            }
        };
        // The other side may be gone.
        drop(said);
    }
}

fn write(mut to: impl Write, bytes: &[u8]) -> io::Result<()> {
    to.write_all(bytes)?;
    to.flush()
}

/// Whether a failure to connect came from this alert.
pub fn is_alert(error: &io::Error, alert: rustls::AlertDescription) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    error.kind() == ErrorKind::InvalidData && inner == Some(&rustls::Error::AlertReceived(alert))
}
