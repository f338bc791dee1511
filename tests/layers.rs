//! The tree keeps to its rules: who may use whom, where `unsafe` may stand, how long a file may
//! be. The table is that of ARCHITECTURE.md, section Layers.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// Each module of `src/lib.rs`, and the others that it may use.
const MAY_USE: [(&str, &[&str]); 14] = [
    ("http", &[]),
    ("policy", &[]),
    ("telemetry", &[]),
    ("nearest", &[]),
    ("ai", &["http", "nearest"]),
    ("runtime", &["telemetry"]),
    ("net", &["runtime", "telemetry"]),
    ("proxy", &["http", "policy", "ai", "telemetry", "nearest", "runtime", "net"]),
    ("config", &["proxy", "policy", "ai", "net", "http", "nearest"]),
    ("admin", &["config", "telemetry"]),
    (
        "control",
        &["admin", "config", "proxy", "policy", "http", "net", "runtime", "telemetry", "nearest"],
    ),
    ("mock", &["http", "ai", "runtime", "net", "telemetry"]),
    ("demo", &["config", "control", "mock"]),
    ("cli", &["config", "control", "demo", "http", "mock", "proxy"]),
];

/// What the pure modules may not name: they know no sockets, no threads, no clock.
const PURE: [&str; 5] = ["http", "policy", "ai", "telemetry", "nearest"];
const IMPURE: [&str; 9] = [
    "std::thread",
    "std::fs",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "Instant::now",
    "SystemTime::now",
    "libc::",
    "socket2",
];

/// Who may use tokio; a worker that did would run two event loops.
const TOKIO: [&str; 3] = ["control", "admin", "cli"];

/// Names tokio's traits for bytes, which the `h2` crate asks for: traits, and no event loop.
const TOKIO_TRAITS: &str = "proxy/http2/io.rs";

/// Each of them says on top why it has to.
const UNSAFE: [&str; 10] = [
    "control/os.rs",
    "net/descriptors.rs",
    "net/socket.rs",
    "runtime/buffers.rs",
    "runtime/driver.rs",
    "runtime/epoll.rs",
    "runtime/remote.rs",
    "runtime/task.rs",
    "runtime/thread.rs",
    "runtime/uring.rs",
];

const LINES_MAX: usize = 700;

/// What is left to do stands in the issues.
const FORBIDDEN: [&str; 5] = ["todo!", "unimplemented!", "dbg!", "TODO", "FIXME"];

/// A file of `src`.
struct Source {
    /// Below `src`, such as `policy/bucket.rs`.
    name: String,
    text: String,
}

impl Source {
    fn module(&self) -> &str {
        let top = self.name.split('/').next().unwrap_or(&self.name);
        top.strip_suffix(".rs").unwrap_or(top)
    }

    fn is_root(&self) -> bool {
        matches!(self.module(), "main" | "lib")
    }

    /// Lines of code with their numbers, without comments and without what is for tests only.
    fn code(&self) -> Vec<(usize, &str)> {
        if self.name.ends_with("/tests.rs") || self.name.contains("/tests/") {
            return Vec::new();
        }
        let mut code = Vec::new();
        let mut lines = self.text.lines().enumerate();
        while let Some((index, line)) = lines.next() {
            if line.trim() == "#[cfg(test)]" {
                // The item ends where a line as little indented does.
                let indent = indent(line);
                lines.find(|(_, line)| indent == self::indent(line) && line.ends_with(['}', ';']));
            } else {
                code.push((index + 1, without_comment(line)));
            }
        }
        code
    }

    /// Where a module of this crate is named in code.
    fn uses(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code().into_iter().flat_map(|(number, line)| {
            let named = line.split("crate::").skip(1).map(first_word);
            named.filter(|module| is_module(module)).map(move |module| (number, module))
        })
    }
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// A `//` within a string ends a line too early, which no rule here minds.
fn without_comment(line: &str) -> &str {
    line.split("//").next().unwrap_or(line)
}

fn first_word(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    &text[..end.unwrap_or(text.len())]
}

fn is_module(name: &str) -> bool {
    MAY_USE.iter().any(|(module, _)| *module == name)
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for path in entries(&folder) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("sources are UTF-8");
                let name = path.strip_prefix(&root).expect("it was found below src");
                sources.push(Source { name: name.to_string_lossy().into_owned(), text });
            }
        }
    }
    sources.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(sources.len() > 50, "the sources are elsewhere");
    sources
}

fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = fs::read_dir(folder).expect("folders of src can be listed");
    entries.map(|entry| entry.expect("folders of src can be listed").path())
}

#[track_caller]
fn report(findings: &str) {
    assert!(findings.is_empty(), "\n{findings}");
}

#[test]
fn modules_use_only_what_the_table_of_layers_allows() {
    let mut findings = String::new();
    for source in sources().iter().filter(|source| !source.is_root()) {
        let module = source.module();
        let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| *name == module) else {
            writeln!(findings, "{}: {module} is not in the table", source.name).unwrap();
            continue;
        };
        for (line, used) in source.uses() {
            if used != module && !allowed.contains(&used) {
                let name = &source.name;
                writeln!(
                    findings,
                    "{name}:{line} uses crate::{used}; {module} may not (ARCHITECTURE.md, Layers)"
                )
                .unwrap();
            }
        }
    }
    report(&findings);
}

#[test]
fn the_table_of_layers_has_no_circle() {
    // In an order in which each module uses only those that came before it.
    let mut placed: Vec<&str> = Vec::new();
    while placed.len() < MAY_USE.len() {
        let ready = |(name, uses): &&(&str, &[&str])| {
            !placed.contains(name) && uses.iter().all(|used| placed.contains(used))
        };
        let next = MAY_USE.iter().find(ready);
        let (name, _) = next.unwrap_or_else(|| panic!("a circle above {placed:?}"));
        placed.push(name);
    }
}

#[test]
fn config_sees_nothing_of_the_proxy_but_its_settings() {
    let mut findings = String::new();
    for source in sources().iter().filter(|source| source.module() == "config") {
        for (line, code) in source.code() {
            for rest in code.split("crate::proxy::").skip(1) {
                if first_word(rest) != "settings" {
                    writeln!(findings, "{}:{line} {code}", source.name).unwrap();
                }
            }
        }
    }
    report(&findings);
}

#[test]
fn pure_modules_know_no_sockets_threads_or_clock() {
    let mut findings = String::new();
    for source in sources().iter().filter(|source| PURE.contains(&source.module())) {
        for (line, code) in source.code() {
            for named in IMPURE.iter().filter(|named| code.contains(*named)) {
                writeln!(findings, "{}:{line} names {named}", source.name).unwrap();
            }
        }
    }
    report(&findings);
}

#[test]
fn tokio_stays_on_the_control_thread() {
    let mut findings = String::new();
    for source in sources().iter().filter(|source| !TOKIO.contains(&source.module())) {
        let allowed = if source.name == TOKIO_TRAITS { "tokio::io::" } else { "" };
        let named = |code: &str| code.replace(allowed, "").contains("tokio::");
        for (line, code) in source.code().into_iter().filter(|(_, code)| named(code)) {
            writeln!(findings, "{}:{line} {code}", source.name).unwrap();
        }
    }
    report(&findings);
}

#[test]
fn unsafe_stands_in_few_places_only() {
    let mut findings = String::new();
    for source in sources().iter().filter(|source| !UNSAFE.contains(&source.name.as_str())) {
        let named =
            |code: &str| code.split(|c: char| !c.is_alphanumeric() && c != '_').any(is_unsafe);
        for (line, code) in source.code().into_iter().filter(|(_, code)| named(code)) {
            writeln!(findings, "{}:{line} {code}", source.name).unwrap();
        }
    }
    report(&findings);
}

fn is_unsafe(word: &str) -> bool {
    word == "unsafe"
}

#[test]
fn each_place_of_unsafe_still_has_some() {
    let sources = sources();
    let has_unsafe = |name: &&str| {
        let source = sources.iter().find(|source| source.name == **name);
        source.is_some_and(|source| source.code().iter().any(|(_, code)| code.contains("unsafe")))
    };
    let stale: Vec<_> = UNSAFE.iter().filter(|name| !has_unsafe(name)).collect();
    assert!(stale.is_empty(), "no longer unsafe: {stale:?}");
}

#[test]
fn files_are_short_enough_to_be_read() {
    let mut findings = String::new();
    for source in sources() {
        let lines = source.text.lines().count();
        if lines > LINES_MAX {
            writeln!(findings, "{} has {lines} lines; {LINES_MAX} is enough", source.name).unwrap();
        }
    }
    report(&findings);
}

#[test]
fn nothing_is_unwrapped_without_a_reason() {
    let mut findings = String::new();
    for source in sources() {
        for (line, code) in source.code().into_iter().filter(|(_, code)| code.contains(".unwrap()"))
        {
            writeln!(findings, "{}:{line} {code}", source.name).unwrap();
        }
    }
    report(&findings);
}

#[test]
fn nothing_is_left_to_do_in_the_code() {
    let mut findings = String::new();
    for source in sources() {
        for (index, line) in source.text.lines().enumerate() {
            for word in FORBIDDEN.iter().filter(|word| line.contains(*word)) {
                writeln!(findings, "{}:{} says {word}", source.name, index + 1).unwrap();
            }
        }
    }
    report(&findings);
}
