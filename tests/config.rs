//! Configuration files from disk: the examples load, and what is refused is refused in exactly
//! the words of `tests/config/invalid/NAME.expected`.
//!
//! `BLESS=1 cargo test --test config` writes the `.expected` files anew; read them afterwards.

use std::fs;
use std::path::{Path, PathBuf};

use ringgate::config::{Loaded, Report, from_str, load};

/// The only environment variables that the files see.
fn env(name: &str) -> Option<String> {
    match name {
        "RINGGATE_TEST_HOST" => Some("models.internal".to_owned()),
        "RINGGATE_TEST_BLOCK" => Some("10.1.0.0/8".to_owned()),
        _ => None,
    }
}

/// The TOML files of a directory of this repository, sorted by name.
fn toml_files(directory: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    let entries = fs::read_dir(&directory).expect("the directory is part of the repository");
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("the directory can be listed").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no files in {}", directory.display());
    files
}

fn load_well(path: &Path) -> Loaded {
    load(path, &env).unwrap_or_else(|report| panic!("{report}"))
}

/// As people see it, with the file's name alone in place of its whole path.
fn shown(report: &Report, path: &Path) -> String {
    let name = path.file_name().expect("a file has a name").to_string_lossy();
    let directory = path.parent().expect("a file is in a directory").to_string_lossy();
    let text = report.to_string().replace(&*path.to_string_lossy(), &name);
    let text = text.replace(&format!("{directory}/"), "");
    if text.is_empty() { text } else { text + "\n" }
}

/// Compares with the `.expected` file beside `path`, or writes it.
fn mismatch(path: &Path, actual: &str) -> Option<String> {
    let expected_path = path.with_extension("expected");
    if std::env::var_os("BLESS").is_some() {
        fs::write(&expected_path, actual).expect("the expected file can be written");
        return None;
    }
    let expected = fs::read_to_string(&expected_path).unwrap_or_default();
    let name = expected_path.display();
    (expected != actual).then(|| format!("--- {name}\n{expected}\n--- but it is\n{actual}"))
}

#[test]
fn every_shipped_example_loads() {
    for path in toml_files("config") {
        load_well(&path);
    }
    for path in toml_files("config/examples") {
        let text = fs::read_to_string(&path).expect("the file is readable");
        let directory = certificates_for(&text);
        let text = text.replace(EXAMPLE_DIRECTORY, &directory.path().to_string_lossy());
        from_str(&path.to_string_lossy(), &text, &env).unwrap_or_else(|report| panic!("{report}"));
    }
}

/// Where examples have their certificates.
const EXAMPLE_DIRECTORY: &str = "/etc/ringgate/tls";

/// A directory with the files that an example names in [`EXAMPLE_DIRECTORY`].
fn certificates_for(text: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let made = rcgen::generate_simple_self_signed(["a.example".to_owned()]).expect("a pair");
    for (_, rest) in
        text.match_indices(EXAMPLE_DIRECTORY).map(|(at, is)| text[at..].split_at(is.len()))
    {
        let name = rest.trim_start_matches('/').split('"').next().expect("a name ends in a quote");
        let pem = match name.ends_with(".key") {
            true => made.signing_key.serialize_pem(),
            false => made.cert.pem(),
        };
        fs::write(directory.path().join(name), pem).expect("the file is writable");
    }
    directory
}

#[test]
fn the_starting_point_has_nothing_to_warn_of() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/ringgate.toml");
    assert_eq!(load_well(&path).report.to_string(), "");
}

#[test]
fn valid_files_load_with_exactly_the_expected_warnings() {
    let mismatches: Vec<String> = toml_files("tests/config/valid")
        .iter()
        .filter_map(|path| mismatch(path, &shown(&load_well(path).report, path)))
        .collect();
    assert!(mismatches.is_empty(), "{}", mismatches.join("\n"));
}

#[test]
fn invalid_files_are_refused_with_exactly_the_expected_message() {
    let mismatches: Vec<String> = toml_files("tests/config/invalid")
        .iter()
        .filter_map(|path| match load(path, &env) {
            Ok(_) => Some(format!("{} was accepted", path.display())),
            Err(report) => mismatch(path, &shown(&report, path)),
        })
        .collect();
    assert!(mismatches.is_empty(), "{}", mismatches.join("\n"));
}

#[test]
fn a_certificate_that_expires_soon_is_a_warning() {
    let directory = tempfile::tempdir().expect("a directory");
    let at = |name: &str| directory.path().join(name);
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut params = rcgen::CertificateParams::new(["a.example".to_owned()]).expect("a name");
    params.not_after = time::OffsetDateTime::now_utc() + time::Duration::hours(10 * 24 + 1);
    let certificate = params.self_signed(&key).expect("a certificate");
    fs::write(at("a.pem"), certificate.pem()).expect("the file is writable");
    fs::write(at("a.key"), key.serialize_pem()).expect("the file is writable");
    let text = "[[listener]]\nname = \"public\"\nbind = \"127.0.0.1:0\"\n\
                tls = [{ cert = \"a.pem\", key = \"a.key\" }]\n\
                [[route]]\nrespond = { status = 200 }\n";
    fs::write(at("ringgate.toml"), text).expect("the file is writable");

    let report = load_well(&at("ringgate.toml")).report;

    assert_eq!(report.warnings.len(), 1);
    assert!(report.warnings[0].text.contains("expires in 10 days"), "{report}");
    assert_eq!(report.warnings[0].path, "listener[0].tls[0].cert");
}

#[test]
fn a_missing_file_is_a_problem_without_a_place() {
    let report = load(Path::new("/nonexistent/ringgate.toml"), &env).unwrap_err();
    assert_eq!(report.problems.len(), 1);
    assert_eq!(report.problems[0].place, None);
    assert!(report.to_string().contains("Cannot read the file"));
}
