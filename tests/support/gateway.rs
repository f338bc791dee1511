//! Ringgate as its own process, with a configuration of its own and ports from the kernel.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use serde_json::Value;
use tempfile::TempDir;

use super::client::{Client, Reply};
use super::metrics::Metrics;
use super::origin::Origin;
use super::systemd::Systemd;
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
    admin: String,
    listener: String,
    access_log: String,
    clusters: String,
    routes: String,
    config: Option<String>,
    systemd: Option<Systemd>,
    descriptors: Option<u64>,
}

impl GatewayBuilder {
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// How many descriptors the process may open.
    pub fn descriptors(mut self, limit: u64) -> Self {
        self.descriptors = Some(limit);
        self
    }

    /// Lines for `[server]`.
    pub fn server(mut self, lines: &str) -> Self {
        self.server.push_str(lines);
        self.server.push('\n');
        self
    }

    /// Lines for `[admin]`.
    pub fn admin(mut self, lines: &str) -> Self {
        self.admin.push_str(lines);
        self.admin.push('\n');
        self
    }

    /// Lines for the `[[listener]]`.
    pub fn listener(mut self, lines: &str) -> Self {
        self.listener.push_str(lines);
        self.listener.push('\n');
        self
    }

    /// Lines for `[access_log]`.
    pub fn access_log(mut self, lines: &str) -> Self {
        self.access_log.push_str(lines);
        self.access_log.push('\n');
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

    /// Sends a path prefix to an endpoint that speaks HTTP/2, with more lines for its cluster.
    pub fn route_http2(self, path: &str, endpoint: SocketAddr, cluster: &str) -> Self {
        self.route_with(path, &[endpoint], "", cluster).http2_endpoint()
    }

    /// Says of the endpoint that was given last that it speaks HTTP/2.
    pub fn http2_endpoint(mut self) -> Self {
        // It is what its cluster ends with.
        self.clusters.push_str("http2 = true\n");
        self
    }

    /// Everything but `[server]`, `[admin]` and `[access_log]`, in place of the listener and the
    /// routes that the builder would write.
    pub fn config(mut self, text: impl Into<String>) -> Self {
        self.config = Some(text.into());
        self
    }

    /// Starts it as a service of this manager.
    pub fn under(mut self, systemd: &Systemd) -> Self {
        self.systemd = Some(systemd.clone());
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
            "[server]\nio = {io:?}\nworkers = {}\n{}\n[admin]\nbind = \"127.0.0.1:0\"\n{}\
             [access_log]\nfile = {log:?}\n{}",
            self.workers, self.server, self.admin, self.access_log,
        )
    }

    pub fn start(self) -> Gateway {
        let dir = tempfile::tempdir().expect("a directory for the gateway's files");
        let preamble = self.preamble(dir.path());
        let file = dir.path().join("ringgate.toml");
        fs::write(&file, format!("{preamble}{}", self.body())).expect("the file is writable");
        let stderr = File::create(dir.path().join(STDERR)).expect("the file is writable");
        let program = dir.path().join(PROGRAM);
        symlink(env!("CARGO_BIN_EXE_ringgate"), &program).expect("the name is free");
        let mut command = match &self.systemd {
            Some(systemd) => systemd.command(&program),
            None => Command::new(&program),
        };
        command.args(["serve", "-c"]).arg(&file);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr);
        // One group for all processes that follow one another, so that all can be ended.
        command.process_group(0);
        end_with_parent(&mut command);
        adopt_orphans();
        if let Some(limit) = self.descriptors {
            limit_descriptors(&mut command, limit);
        }
        let mut process = command.spawn().expect("the program starts");
        let lines = lines_of(&mut process);
        let pid = pid_of(&process);
        let mut gateway = Gateway {
            process,
            pid,
            lines,
            dir,
            preamble,
            listeners: Vec::new(),
            has_exited: false,
        };
        gateway.read_ready();
        gateway
    }
}

/// A `[[listener]]` named `public`, with these lines besides its name and address.
pub fn listener(lines: &str) -> String {
    format!("[[listener]]\nname = \"public\"\nbind = \"127.0.0.1:0\"\n{lines}\n")
}

/// What an example of `config/examples` says of listeners, routes and clusters, with other
/// addresses in place of its own: each pair is what stands there and what shall.
pub fn example(name: &str, addresses: &[(&str, String)]) -> String {
    let path = format!("{}/config/examples/{name}.toml", env!("CARGO_MANIFEST_DIR"));
    let mut text = fs::read_to_string(path).expect("the example is part of the repository");
    for (there, instead) in addresses {
        assert!(text.contains(there), "no {there} in {name}");
        text = text.replace(there, instead);
    }
    let mut table: toml::Table = text.parse().expect("an example is TOML");
    // The builder writes these itself.
    table.retain(|key, _| !["server", "admin", "access_log"].contains(&key));
    table.to_string()
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

fn limit_descriptors(command: &mut Command, count: u64) {
    let limit = libc::rlimit { rlim_cur: count, rlim_max: count };
    // SAFETY: the pointer is to a `rlimit` that is only read.
    let ask = move || match unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    };
    // SAFETY: setrlimit may be called between fork and exec, and nothing else is.
    unsafe { command.pre_exec(ask) };
}

/// Processes whose parent ends become children of this one, so that their end can be waited for.
fn adopt_orphans() {
    // SAFETY: takes no pointers, and concerns only who is told of ends.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) }, 0);
}

/// The lines that the process and its successors print.
fn lines_of(process: &mut Child) -> Receiver<String> {
    let stdout = process.stdout.take().expect("standard output is a pipe");
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        // Reads on to the end: a full pipe would stop the gateway.
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            drop(sender.send(line));
        }
    });
    receiver
}

fn pid_of(process: &Child) -> i32 {
    i32::try_from(process.id()).expect("a PID is positive")
}

const ACCESS_LOG: &str = "access.log";
const STDERR: &str = "stderr";
/// A link to the program under test: what a hand-over starts is what it leads to then.
const PROGRAM: &str = "ringgate";

/// A running gateway, and the processes that follow it. Dropping it ends them all.
pub struct Gateway {
    /// The first of the processes; the leader of their group.
    process: Child,
    /// The one that serves.
    pid: i32,
    lines: Receiver<String>,
    dir: TempDir,
    preamble: String,
    /// Names and addresses, in the order of the line `ready`.
    listeners: Vec<(String, SocketAddr)>,
    has_exited: bool,
}

/// As [`Gateway::api`], for threads: where the admin server is.
pub fn api(admin: SocketAddr, method: &str, target: &str, body: &str) -> Reply {
    let length = body.len();
    let fields = match body {
        "" => String::new(),
        _ => format!("Content-Type: application/json\r\nContent-Length: {length}\r\n"),
    };
    let head = format!("{method} {target} HTTP/1.1\r\nHost: {admin}\r\n{fields}\r\n");
    Client::connect(admin).send(head + body).read_reply_to(method)
}

/// What became of a new configuration.
#[derive(Debug, PartialEq, Eq)]
pub enum Reload {
    InForce,
    Refused,
}

impl Gateway {
    /// Takes over the addresses of the next line `ready`.
    fn read_ready(&mut self) {
        let line = self.lines.recv_timeout(PATIENCE);
        let line = line.unwrap_or_else(|_| panic!("not ready; it says:\n{}", self.stderr()));
        let pairs = line.strip_prefix("ready ").unwrap_or_else(|| panic!("not ready: {line}"));
        let pair = |pair: &str| {
            let (name, address) = pair.split_once('=').expect("NAME=ADDRESS");
            (name.to_owned(), address.parse().expect("an address with a port"))
        };
        self.listeners = pairs.split_whitespace().map(pair).collect();
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

    /// One request to the management API, with a body in JSON unless it is empty.
    pub fn api(&self, method: &str, target: &str, body: &str) -> Reply {
        api(self.address_of("admin"), method, target, body)
    }

    /// What `GET /api/v1/status` says.
    pub fn status(&self) -> Value {
        self.api("GET", "/api/v1/status", "").json()
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
        let parse = |line: &String| serde_json::from_str(line).expect("a line of the log is JSON");
        self.log_text().iter().map(parse).collect()
    }

    /// The whole lines of the access log so far, in whatever format.
    pub fn log_text(&self) -> Vec<String> {
        let text = fs::read_to_string(self.dir.path().join(ACCESS_LOG)).unwrap_or_default();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().map(str::to_owned).collect()
    }

    /// As [`Gateway::wait_for_log`], in whatever format.
    pub fn wait_for_log_text(&self, count: usize) -> Vec<String> {
        eventually(&format!("{count} log lines"), || {
            Some(self.log_text()).filter(|lines| lines.len() >= count)
        })
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
        self.reload_file(&self.text_with(workers, config))
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

    /// Writes the file that the next process will read, with this number of workers.
    pub fn prepare(&self, workers: usize, config: &str) {
        fs::write(self.file(), self.text_with(workers, config)).expect("the file is writable");
    }

    fn text_with(&self, workers: usize, config: &str) -> String {
        let is_workers = |line: &&str| line.starts_with("workers = ");
        let line = self.preamble.lines().find(is_workers).expect("the preamble has it");
        let preamble = self.preamble.replace(line, &format!("workers = {workers}"));
        format!("{preamble}{config}")
    }

    /// Has a new process take over, and gives back the PID of the one that is to end.
    pub fn hand_over(&mut self) -> i32 {
        self.signal(libc::SIGUSR2);
        self.await_successor()
    }

    /// As [`Gateway::hand_over`], once the signal has been sent.
    pub fn await_successor(&mut self) -> i32 {
        self.read_ready();
        let before = self.pid;
        self.pid = eventually("the PID of the new process", || {
            let said = self.stderr();
            let (_, after) = said.rsplit_once("handed over to a new process pid=")?;
            let pid = after.split_whitespace().next()?.parse().ok()?;
            (pid != before).then_some(pid)
        });
        before
    }

    /// Puts another program in the place of the one that runs.
    pub fn replace_program(&self, program: impl AsRef<Path>) {
        let link = self.dir.path().join(PROGRAM);
        drop(fs::remove_file(&link));
        symlink(program, link).expect("the name is free");
    }

    /// A script in the place of the program. `$RINGGATE` is the program under test, `$DIR` the
    /// gateway's own folder.
    pub fn replace_program_by_script(&self, text: &str) {
        let script = self.dir.path().join("script");
        let (dir, program) = (self.dir.path().display(), env!("CARGO_BIN_EXE_ringgate"));
        let text = format!("#!/bin/sh\nDIR={dir}\nRINGGATE={program}\n{text}\n");
        fs::write(&script, text).expect("the file is writable");
        fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).expect("it is ours");
        self.replace_program(script);
    }

    /// The program under test again.
    pub fn restore_program(&self) {
        self.replace_program(env!("CARGO_BIN_EXE_ringgate"));
    }

    /// A file in the gateway's own folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("ringgate.toml")
    }

    /// The process that serves.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    pub fn signal(&self, signal: i32) {
        // SAFETY: sends a signal to a process of ours that has not been waited for.
        assert_eq!(unsafe { libc::kill(self.pid, signal) }, 0, "the process takes signals");
    }

    /// How many descriptors the process has open.
    pub fn open_descriptors(&self) -> usize {
        let directory = format!("/proc/{}/fd", self.process.id());
        fs::read_dir(directory).expect("the process is there").count()
    }

    /// Waits until the process has ended by itself.
    pub fn wait_for_exit(&mut self) -> ExitStatus {
        let status = self.wait_for_exit_of(self.pid);
        self.has_exited = true;
        status
    }

    /// Waits for the end of one that has handed over.
    pub fn wait_for_exit_of(&mut self, pid: i32) -> ExitStatus {
        eventually("the end of the process", || {
            if pid == pid_of(&self.process) {
                return self.process.try_wait().expect("a child can be waited for");
            }
            let mut status = 0;
            // SAFETY: the pointer is to an integer that is writable for the call. A process whose
            // parent has not ended yet is no child of this one, and an error.
            let ended = unsafe { libc::waitpid(pid, &raw mut status, libc::WNOHANG) };
            (ended == pid).then(|| ExitStatus::from_raw(status))
        })
    }

    /// Asks it to drain, and waits for its end.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal(libc::SIGTERM);
        self.wait_for_exit()
    }

    /// Resident memory in bytes.
    pub fn rss(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid));
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
            let group = pid_of(&self.process);
            // SAFETY: takes no pointers. The group exists: one of its processes serves.
            unsafe { libc::kill(-group, libc::SIGKILL) };
            drop(self.process.wait());
            // SAFETY: a null pointer asks for no status. Reaps those that followed.
            while unsafe { libc::waitpid(-group, std::ptr::null_mut(), 0) } > 0 {}
        }
        if thread::panicking() {
            eprintln!("the gateway's standard error:\n{}", self.stderr());
        }
    }
}
