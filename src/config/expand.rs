//! `${NAME}`, `${NAME:default}`, `${file:PATH}` and `$$` in strings.

use std::fs::File;
use std::io::Read;
use std::path::Path;

/// A file named by `${file:PATH}` holds a credential or a short text, not a document.
const INCLUDED_BYTES_MAX: u64 = 64 * 1024;

/// What strings may refer to outside the file.
pub(super) struct Surroundings<'a> {
    pub(super) env: &'a dyn Fn(&str) -> Option<String>,
    /// Relative paths start here: the directory of the configuration file.
    pub(super) directory: &'a Path,
}

/// `text` with every reference replaced. What is put in is not looked at again.
///
/// # Errors
///
/// What is wrong and the way out, in a sentence. It never tells what a reference stands for.
pub(super) fn expand(text: &str, surroundings: &Surroundings<'_>) -> Result<String, String> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        expanded.push_str(before);
        rest = if let Some(after) = after.strip_prefix('$') {
            expanded.push('$');
            after
        } else if let Some(after) = after.strip_prefix('{') {
            let (reference, after) = after.split_once('}').ok_or("A \"${\" lacks its \"}\".")?;
            expanded.push_str(&resolve(reference, surroundings)?);
            after
        } else {
            // `$NAME` is a habit from shells: left as it is, it would be a secret never found.
            return Err("A lone \"$\". Write \"${NAME}\" for an environment variable, or \"$$\" \
                        for the character itself."
                .to_owned());
        };
    }
    expanded.push_str(rest);
    Ok(expanded)
}

fn resolve(reference: &str, surroundings: &Surroundings<'_>) -> Result<String, String> {
    if let Some(path) = reference.strip_prefix("file:") {
        return read(&surroundings.directory.join(path));
    }
    let (name, default) = match reference.split_once(':') {
        Some((name, default)) => (name, Some(default)),
        None => (reference, None),
    };
    if !is_variable_name(name) {
        return Err(format!(
            "\"${{{reference}}}\" is neither ${{NAME}}, ${{NAME:default}} nor ${{file:PATH}}."
        ));
    }
    (surroundings.env)(name).or_else(|| default.map(str::to_owned)).ok_or_else(|| {
        format!(
            "The environment variable {name} is not set. Set it, or give a default: \
             ${{{name}:default}}."
        )
    })
}

fn is_variable_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// The text of a file, without one line end at its end: editors and `echo` add it.
fn read(path: &Path) -> Result<String, String> {
    let shown = path.display();
    let text = read_bounded(path).map_err(|error| format!("Cannot read {shown}: {error}."))?;
    if text.len() as u64 > INCLUDED_BYTES_MAX {
        return Err(format!("{shown} is longer than {INCLUDED_BYTES_MAX} bytes."));
    }
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
}

/// At most one byte more than is allowed.
fn read_bounded(path: &Path) -> std::io::Result<String> {
    // Opening a named pipe would wait for its writer.
    if !std::fs::metadata(path)?.is_file() {
        return Err(std::io::Error::other("it is not a regular file"));
    }
    let mut text = String::new();
    File::open(path)?.take(INCLUDED_BYTES_MAX + 1).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand_here(text: &str) -> Result<String, String> {
        let env = |name: &str| match name {
            "HOST" => Some("example.com".to_owned()),
            "EMPTY" => Some(String::new()),
            "TRICKY" => Some("${HOST}".to_owned()),
            _ => None,
        };
        expand(text, &Surroundings { env: &env, directory: Path::new("") })
    }

    #[test]
    fn references_are_replaced_wherever_they_stand() {
        assert_eq!(expand_here("http://${HOST}/v1").unwrap(), "http://example.com/v1");
        assert_eq!(expand_here("${HOST}${HOST}").unwrap(), "example.comexample.com");
        assert_eq!(expand_here("nothing").unwrap(), "nothing");
    }

    #[test]
    fn a_default_stands_in_for_an_unset_variable_only() {
        assert_eq!(expand_here("${PORT:8080}").unwrap(), "8080");
        assert_eq!(expand_here("${URL:http://a:1}").unwrap(), "http://a:1");
        assert_eq!(expand_here("${HOST:other}").unwrap(), "example.com");
        assert_eq!(expand_here("${EMPTY:other}").unwrap(), "");
    }

    #[test]
    fn a_doubled_dollar_is_a_dollar() {
        assert_eq!(expand_here("US$$5 $${HOST}").unwrap(), "US$5 ${HOST}");
    }

    #[test]
    fn what_is_put_in_is_not_expanded_again() {
        assert_eq!(expand_here("${TRICKY}").unwrap(), "${HOST}");
    }

    #[test]
    fn what_cannot_be_resolved_is_said() {
        assert!(expand_here("${MISSING}").unwrap_err().contains("MISSING is not set"));
        assert!(expand_here("${HOST").unwrap_err().contains("lacks its"));
        assert!(expand_here("$HOST").unwrap_err().contains("lone"));
        assert!(expand_here("${1A}").unwrap_err().contains("neither"));
        assert!(expand_here("${}").unwrap_err().contains("neither"));
    }

    #[test]
    fn a_file_is_read_from_the_directory_of_the_configuration() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("key"), "s3cret\r\n").unwrap();
        let surroundings = Surroundings { env: &|_| None, directory: directory.path() };
        assert_eq!(expand("${file:key}", &surroundings).unwrap(), "s3cret");
        assert!(expand("${file:other}", &surroundings).unwrap_err().contains("Cannot read"));
        assert!(expand("${file:.}", &surroundings).unwrap_err().contains("not a regular file"));
    }

    #[test]
    fn a_file_that_is_too_long_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("big"), vec![b'a'; 70_000]).unwrap();
        let surroundings = Surroundings { env: &|_| None, directory: directory.path() };
        assert!(expand("${file:big}", &surroundings).unwrap_err().contains("longer than"));
    }
}
