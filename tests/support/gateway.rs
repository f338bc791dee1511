//! Ringgate as its own process, with a configuration of its own and ports from the kernel.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;

use serde_json::Value;
use tempfile::TempDir;

use super::client::{Client, Reply};
use super::metrics::Metrics;
use super::origin::Origin;
use super::{PATIENCE, eventually};

/// Chooses the driver for the whole suite: `io_uring`, `epoll` or `auto`.
const IO_VARIABLE: &str = "RINGGATE_TEST_IO";

/// A gateway with one listener, two workers and no routes, to be changed before its start.
pub fn gateway() -> GatewayBuilder {
    GatewayBuilder { workers: 2, ..GatewayBuilder::default() }
}

#[derive(Default)]
pub struct GatewayBuilder {
    workers: usize,
    server: String,
    listener: String,
    clusters: String,
    routes: String,
    config: Option<String>,
}

impl GatewayBuilder {
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// Lines for `[server]`.
    pub fn server(mut self, lines: &str) -> Self {
        self.server.push_str(lines);
        self.server.push('\n');
        self
    }

    /// Lines for the `[[listener]]`.
    pub fn listener(mut self, lines: &str) -> Self {
        self.listener.push_str(lines);
        self.listener.push('\n');
        self
    }

    /// Sends a path prefix to an origin.
    pub fn route(self, path: &str, origin: &Origin) -> Self {
        self.route_with(path, &[origin.address], "", "")
    }

    /// Sends a path prefix to endpoints, with more lines for the route and for its cluster.
    pub fn route_with(
        mut self,
        path: &str,
        endpoints: &[SocketAddr],
        route: &str,
        cluster: &str,
    ) -> Self {
        let name = format!("c{}", self.clusters.matches("[cluster.").count());
        self.routes += &format!("[[route]]\npath = {path:?}\ncluster = {name:?}\n{route}\n");
        self.clusters += &cluster_of(&name, endpoints, cluster);
        self
    }

    /// Everything but `[server]`, `[admin]` and `[access_log]`, in place of the listener and the
    /// routes that the builder would write.
    pub fn config(mut self, text: impl Into<String>) -> Self {
        self.config = Some(text.into());
        self
    }

    fn body(&self) -> String {
        match &self.config {
            Some(config) => config.clone(),
            None => format!("{}{}{}", listener(&self.listener), self.routes, self.clusters),
        }
    }

    fn preamble(&self, dir: &Path) -> String {
        let io = std::env::var(IO_VARIABLE).unwrap_or_else(|_| "auto".to_owned());
        let log = dir.join(ACCESS_LOG);
        format!(
            "[server]\nio = {io:?}\nworkers = {}\n{}\n[admin]\nbind = \"127.0.0.1:0\"\n\
             [access_log]\nfile = {log:?}\n",
            self.workers, self.server,
        )
    }

    pub fn start(self) -> Gateway {
        let dir = tempfile::tempdir().expect("a directory for the gateway's files");
        let preamble = self.preamble(dir.path());
        let file = dir.path().join("ringgate.toml");
        fs::write(&file, format!("{preamble}{}", self.body())).expect("the file is writable");
        let stderr = File::create(dir.path().join(STDERR)).expect("the file is writable");
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringgate"));
        command.args(["serve", "-c"]).arg(&file);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr);
        end_with_parent(&mut command);
        let mut process = command.spawn().expect("the program starts");
        let ready = first_line(&mut process);
        let mut gateway =
            Gateway { process, dir, preamble, listeners: Vec::new(), has_exited: false };
        gateway.listeners = gateway.read_ready(ready);
        gateway
    }
}

/// A `[[listener]]` named `public`, with these lines besides its name and address.
pub fn listener(lines: &str) -> String {
    format!("[[listener]]\nname = \"public\"\nbind = \"127.0.0.1:0\"\n{lines}\n")
}

/// A `[cluster.NAME]` of these endpoints.
pub fn cluster_of(name: &str, endpoints: &[SocketAddr], lines: &str) -> String {
    let mut text = format!("[cluster.{name}]\n{lines}\n");
    for address in endpoints {
        write!(text, "[[cluster.{name}.endpoint]]\naddress = \"{address}\"\n")
            .expect("writing into a String does not fail");
    }
    text
}

/// A test run that is killed leaves no gateway behind.
fn end_with_parent(command: &mut Command) {
    // SAFETY: takes no pointers, and concerns the child alone.
    let ask = || match unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    };
    // SAFETY: prctl may be called between fork and exec, and nothing else is.
    unsafe { command.pre_exec(ask) };
}

/// The first line that the process prints; `None` if it prints none.
fn first_line(process: &mut Child) -> Option<String> {
    let stdout = process.stdout.take().expect("standard output is a pipe");
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        // Reads on to the end: a full pipe would stop the gateway.
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            drop(sender.send(line));
        }
    });
    receiver.recv_timeout(PATIENCE).ok()
}

const ACCESS_LOG: &str = "access.log";
const STDERR: &str = "stderr";

/// A running gateway. Dropping it ends the process.
pub struct Gateway {
    process: Child,
    dir: TempDir,
    preamble: String,
    /// Names and addresses, in the order of the line `ready`.
    listeners: Vec<(String, SocketAddr)>,
    has_exited: bool,
}

/// What became of a new configuration.
#[derive(Debug, PartialEq, Eq)]
pub enum Reload {
    InForce,
    Refused,
}

impl Gateway {
    fn read_ready(&self, line: Option<String>) -> Vec<(String, SocketAddr)> {
        let line = line.unwrap_or_else(|| panic!("not ready; it says:\n{}", self.stderr()));
        let pairs = line.strip_prefix("ready ").unwrap_or_else(|| panic!("not ready: {line}"));
        let pair = |pair: &str| {
            let (name, address) = pair.split_once('=').expect("NAME=ADDRESS");
            (name.to_owned(), address.parse().expect("an address with a port"))
        };
        pairs.split_whitespace().map(pair).collect()
    }

    /// Where the listener of that name accepts; `admin` is the admin server.
    pub fn address_of(&self, name: &str) -> SocketAddr {
        let found = self.listeners.iter().find(|(is, _)| is == name);
        found.unwrap_or_else(|| panic!("no {name} in {:?}", self.listeners)).1
    }

    pub fn address(&self) -> SocketAddr {
        self.address_of("public")
    }

    pub fn client(&self) -> Client {
        Client::connect(self.address())
    }

    /// One GET on a connection of its own.
    pub fn get(&self, target: &str) -> Reply {
        self.client().get(target)
    }

    /// Bytes on a connection of their own, and the first response to them.
    pub fn talk(&self, bytes: impl AsRef<[u8]>) -> Reply {
        self.client().send(bytes).read()
    }

    /// A page of the admin server.
    pub fn admin(&self, target: &str) -> Reply {
        Client::connect(self.address_of("admin")).get(target)
    }

    pub fn metrics(&self) -> Metrics {
        Metrics(self.admin("/metrics").text().to_owned())
    }

    /// As [`Metrics::count`], now.
    pub fn count(&self, series: &str) -> u64 {
        self.metrics().count(series)
    }

    /// Waits until a counter or gauge is at `value`.
    pub fn wait_for_count(&self, series: &str, value: u64) {
        eventually(&format!("{series} = {value}"), || (self.count(series) == value).then_some(()));
    }

    /// The access log so far.
    pub fn log_lines(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.dir.path().join(ACCESS_LOG)).unwrap_or_default();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let parse = |line| serde_json::from_str(line).expect("a line of the log is JSON");
        whole.lines().map(parse).collect()
    }

    /// The line of the exchange with this `x-request-id`, once it has been written.
    pub fn log_line(&self, request_id: &str) -> Value {
        eventually(&format!("the log line of {request_id}"), || {
            self.log_lines().into_iter().find(|line| line["request_id"] == request_id)
        })
    }

    /// Waits until the access log has that many lines.
    pub fn wait_for_log(&self, count: usize) -> Vec<Value> {
        eventually(&format!("{count} log lines"), || {
            Some(self.log_lines()).filter(|lines| lines.len() >= count)
        })
    }

    /// Moves the access log away, as a program does that rotates logs.
    pub fn rotate_access_log(&self) {
        let log = self.dir.path().join(ACCESS_LOG);
        fs::rename(&log, log.with_extension("1")).expect("the log is there");
    }

    /// What the process has said on standard error.
    pub fn stderr(&self) -> String {
        fs::read_to_string(self.dir.path().join(STDERR)).unwrap_or_default()
    }

    /// Replaces what [`GatewayBuilder::config`] says, and waits until it is in force or refused.
    pub fn reload(&self, config: &str) -> Reload {
        self.reload_file(&format!("{}{config}", self.preamble))
    }

    /// As [`Gateway::reload`], with another number of workers in `[server]`.
    pub fn reload_with_workers(&self, workers: usize, config: &str) -> Reload {
        let is_workers = |line: &&str| line.starts_with("workers = ");
        let line = self.preamble.lines().find(is_workers).expect("the preamble has it");
        let preamble = self.preamble.replace(line, &format!("workers = {workers}"));
        self.reload_file(&format!("{preamble}{config}"))
    }

    fn reload_file(&self, text: &str) -> Reload {
        let (generation, failures) = generation_and_failures(&self.metrics());
        fs::write(self.file(), text).expect("the file is writable");
        self.signal(libc::SIGHUP);
        eventually("the end of a reload", || {
            let now = generation_and_failures(&self.metrics());
            match now {
                _ if now.0 > generation => Some(Reload::InForce),
                _ if now.1 > failures => Some(Reload::Refused),
                _ => None,
            }
        })
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("ringgate.toml")
    }

    pub fn signal(&self, signal: i32) {
        let pid = i32::try_from(self.process.id()).expect("a PID is positive");
        // SAFETY: sends a signal to a child that has not been waited for.
        assert_eq!(unsafe { libc::kill(pid, signal) }, 0, "the process takes signals");
    }

    /// Waits until the process has ended by itself.
    pub fn wait_for_exit(&mut self) -> ExitStatus {
        let status = eventually("the end of the process", || {
            self.process.try_wait().expect("a child can be waited for")
        });
        self.has_exited = true;
        status
    }

    /// Asks it to drain, and waits for its end.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal(libc::SIGTERM);
        self.wait_for_exit()
    }

    /// Resident memory in bytes.
    pub fn rss(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()));
        let status = status.expect("the process is alive");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kib.expect("VmRSS in KiB") * 1024
    }
}

fn generation_and_failures(metrics: &Metrics) -> (u64, u64) {
    let generation = metrics.count("ringgate_config_generation");
    (generation, metrics.count("ringgate_config_reload_failures_total"))
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if !self.has_exited {
            drop(self.process.kill());
            drop(self.process.wait());
        }
        if thread::panicking() {
            eprintln!("the gateway's standard error:\n{}", self.stderr());
        }
    }
}
