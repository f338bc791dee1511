//! The official SDKs of OpenAI and Anthropic against `ringgate demo`, one test for each group of
//! calls in `sdk/check.py`. `make sdk` installs the SDKs and runs this.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, Write as _};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Once, mpsc};
use std::thread;
use std::time::Duration;

/// Names the Python interpreter that has the SDKs.
const PYTHON_VARIABLE: &str = "RINGGATE_TEST_SDK";

const CHECK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sdk/check.py");

/// How long the demo may take to start. Only a test that fails waits that long.
const PATIENCE: Duration = Duration::from_secs(20);

/// `ringgate demo` on free ports. Dropping it ends the process.
struct Demo {
    process: Child,
    /// Where the gateway answers.
    address: SocketAddr,
    stderr: File,
}

impl Demo {
    fn start() -> Self {
        let stderr = tempfile::tempfile().expect("a file for the demo's standard error");
        let mut process = Command::new(env!("CARGO_BIN_EXE_ringgate"))
            .args(["demo", "--bind", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr.try_clone().expect("an open file can be duplicated"))
            .spawn()
            .expect("the program starts");
        let stdout = process.stdout.take().expect("standard output is a pipe");
        // Made before anything is asserted, so that a demo that is not ready is ended too.
        let unknown = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut demo = Self { process, address: unknown, stderr };
        let line = first_line(stdout).expect("the demo says that it is ready");
        demo.address = public_address(&line);
        demo
    }

    fn stderr(&mut self) -> io::Result<String> {
        let mut text = String::new();
        self.stderr.rewind()?;
        self.stderr.read_to_string(&mut text)?;
        Ok(text)
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
        if thread::panicking() {
            eprintln!("the demo's standard error:\n{}", self.stderr().unwrap_or_default());
        }
    }
}

/// Reads on to the end in a thread of its own: a full pipe would stop the demo.
fn first_line(stdout: ChildStdout) -> Option<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            drop(sender.send(line));
        }
    });
    receiver.recv_timeout(PATIENCE).ok()
}

/// The gateway's address in `ready public=ADDRESS admin=ADDRESS`.
fn public_address(ready: &str) -> SocketAddr {
    let address = ready.split_whitespace().find_map(|word| word.strip_prefix("public="));
    let address = address.and_then(|address| address.parse().ok());
    address.unwrap_or_else(|| panic!("not ready: {ready}"))
}

/// Makes the calls of one group; what Python says is in the message of a failure.
#[track_caller]
fn check(group: &str) {
    let Some(python) = python() else {
        say_why_skipped();
        return;
    };
    let demo = Demo::start();
    let done = Command::new(python)
        // Isolated: no PYTHONPATH, no packages of the user.
        .args(["-I", CHECK, group, &format!("http://{}", demo.address)])
        // The SDKs obey the proxy variables, for this machine too unless told otherwise.
        .env("NO_PROXY", "127.0.0.1")
        .stdin(Stdio::null())
        .output()
        .expect("Python starts");
    assert!(
        done.status.success(),
        "{group} {}\n{}{}",
        done.status,
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr),
    );
}

/// Once, and past the test harness, which keeps to itself what a passing test prints.
fn say_why_skipped() {
    static SAID: Once = Once::new();
    SAID.call_once(|| {
        let why = "names no Python with the SDKs; `make sdk` does";
        drop(writeln!(io::stderr(), "skipped: {PYTHON_VARIABLE} {why}"));
    });
}

fn python() -> Option<OsString> {
    std::env::var_os(PYTHON_VARIABLE).filter(|python| !python.is_empty())
}

#[test]
fn openai_lists_the_models() {
    check("openai_models");
}

#[test]
fn openai_chats_whole_and_in_a_stream() {
    check("openai_chat");
}

#[test]
fn openai_completes_a_prompt() {
    check("openai_completions");
}

#[test]
fn openai_reads_embeddings_in_its_default_encoding() {
    check("openai_embeddings");
}

#[test]
fn openai_gets_a_response_whole_and_in_a_stream() {
    check("openai_responses");
}

#[test]
fn openai_uploads_audio_for_a_transcript() {
    check("openai_transcription");
}

#[test]
fn openai_raises_the_exception_that_fits_the_error() {
    check("openai_errors");
}

#[test]
fn openai_may_leave_a_stream_and_call_again() {
    check("openai_cancellation");
}

#[test]
fn anthropic_gets_a_message_whole_and_in_a_stream() {
    check("anthropic_messages");
}

#[test]
fn anthropic_raises_the_exception_that_fits_the_error() {
    check("anthropic_errors");
}
