//! gRPC by its library on both sides: what comes of its calls is the same through the gateway as
//! without. `make sdk` installs the library and runs this.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use crate::support::gateway::{cluster_of, gateway, listener};
use crate::support::tls::{Authority, tls_of};

/// Names the Python interpreter that has the library.
const PYTHON_VARIABLE: &str = "RINGGATE_TEST_SDK";

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sdk/calls.py");

/// The library's server. Dropping it ends the process.
struct Server {
    process: Child,
    address: SocketAddr,
}

impl Server {
    fn start(python: &OsString) -> Self {
        let mut command = Command::new(python);
        command.args(["-I", SCRIPT, "serve"]).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().expect("Python starts");
        let mut line = String::new();
        let stdout = process.stdout.take().expect("standard output is a pipe");
        let read = BufReader::new(stdout).read_line(&mut line);
        let port = read.ok().and_then(|_| line.trim().parse::<u16>().ok());
        let address = SocketAddr::from(([127, 0, 0, 1], port.unwrap_or(0)));
        // Made before anything is asserted, so that the process is ended in any case.
        let server = Self { process, address };
        assert!(port.is_some(), "the server has no port");
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

#[test]
fn calls_of_a_library_are_the_same_through_the_gateway() {
    let Some(python) = std::env::var_os(PYTHON_VARIABLE).filter(|python| !python.is_empty()) else {
        let why = "names no Python with the library `grpcio`; `make sdk` does";
        drop(writeln!(std::io::stderr(), "skipped: {PYTHON_VARIABLE} {why}"));
        return;
    };
    let server = Server::start(&python);
    let authority = Authority::new();
    let tls = tls_of(&[&authority.issue("a", &["a.example"])]);
    let private = format!("[[listener]]\nname = \"private\"\nbind = \"127.0.0.1:0\"\n{tls}\n");
    let route = "[[route]]\ncluster = \"calls\"\n";
    let cluster = cluster_of("calls", &[server.address], "") + "http2 = true\n";
    let config = listener("http2 = true") + &private + route + &cluster;
    let gateway = gateway().config(config).start();

    let private = format!("{}@{}", gateway.address_of("private"), authority.file().display());
    let addresses = [server.address.to_string(), gateway.address().to_string(), private];
    let done = Command::new(python)
        .args(["-I", SCRIPT, "check"])
        .args(addresses)
        // The library obeys the proxy variables, for this machine too unless told otherwise.
        .env("NO_PROXY", "127.0.0.1")
        .stdin(Stdio::null())
        .output()
        .expect("Python starts");

    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "{}\n{}", done.status, String::from_utf8_lossy(&done.stderr));
    let lines: Vec<_> = said.lines().collect();
    let [direct, through, through_tls] = lines[..] else { panic!("{said}") };
    assert_eq!(direct, through);
    assert_eq!(direct, through_tls);
    assert!(through.contains("\"cancelled\": [\"begun\", \"True\"]"), "{through}");
}
