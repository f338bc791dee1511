//! The known names nearest to one that nobody knows: for "did you mean" in messages.

/// Longer names are not compared: they are not typing errors, and may come from a client.
const COMPARED_CHARS_MAX: usize = 128;

/// A shorter beginning says too little to propose a name by it.
const BEGINNING_CHARS_MIN: usize = 3;

/// The known name that was most likely meant, if one is near enough.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    nearest_few(name, known, 1).first().copied()
}

/// Up to `count` known names near `name`, the nearest first; equally near ones by alphabet.
///
/// Near means: a third of the characters or fewer differ, or one name begins with the other.
/// The case of letters does not count.
pub fn nearest_few<'a>(
    name: &str,
    known: impl IntoIterator<Item = &'a str>,
    count: usize,
) -> Vec<&'a str> {
    let Some(name) = folded(name) else { return Vec::new() };
    let mut near: Vec<(usize, &str)> = known
        .into_iter()
        .filter_map(|candidate| Some((nearness(&name, &folded(candidate)?)?, candidate)))
        .collect();
    near.sort_unstable();
    near.dedup();
    near.truncate(count);
    near.into_iter().map(|(_, candidate)| candidate).collect()
}

/// The characters in lower case; `None` if there are none or too many.
fn folded(name: &str) -> Option<Vec<char>> {
    if name.is_empty() || name.len() > COMPARED_CHARS_MAX {
        return None;
    }
    Some(name.chars().flat_map(char::to_lowercase).collect())
}

/// The number of edits between two near names; `None` if they are not near.
fn nearness(a: &[char], b: &[char]) -> Option<usize> {
    let (short, long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    let surplus = long.len() - short.len();
    if short.len() >= BEGINNING_CHARS_MIN && long.starts_with(short) {
        return Some(surplus);
    }
    let allowed = (long.len() / 3).max(1);
    if surplus > allowed || long.len() == 1 {
        return None;
    }
    edits(short, long, allowed)
}

/// How many characters must be added, removed, changed, or swapped with their neighbour to make
/// one name of the other (optimal string alignment); `None` if more than `allowed`.
fn edits(a: &[char], b: &[char], allowed: usize) -> Option<usize> {
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, &from) in a.iter().enumerate() {
        let mut row = Vec::with_capacity(b.len() + 1);
        row.push(i + 1);
        for (j, &to) in b.iter().enumerate() {
            let changed = last[j] + usize::from(from != to);
            let mut fewest = changed.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && from == b[j - 1] && a[i - 1] == to {
                fewest = fewest.min(before_last[j - 1] + 1);
            }
            row.push(fewest);
        }
        // A swap reaches back two rows, so one bad row is not the end yet.
        if row.iter().chain(&last).all(|&edits| edits > allowed) {
            return None;
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last.last().copied().filter(|&edits| edits <= allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: [&str; 5] = ["timeouts", "limits", "bind", "name", "trusted_proxies"];

    #[test]
    fn a_typing_error_finds_the_name_that_was_meant() {
        assert_eq!(nearest("timeout", KEYS), Some("timeouts"));
        assert_eq!(nearest("bnid", KEYS), Some("bind"));
        assert_eq!(nearest("Limits", KEYS), Some("limits"));
        assert_eq!(nearest("trusted-proxy", KEYS), Some("trusted_proxies"));
    }

    #[test]
    fn what_resembles_nothing_finds_nothing() {
        assert_eq!(nearest("colour", KEYS), None);
        assert_eq!(nearest("", KEYS), None);
        assert_eq!(nearest("x", ["y"]), None);
        assert_eq!(nearest(&"bind".repeat(100), KEYS), None);
    }

    #[test]
    fn a_name_that_begins_with_the_other_is_near_however_long() {
        assert_eq!(nearest("openai-eu", ["openai-eu-west"]), Some("openai-eu-west"));
        assert_eq!(nearest("gpt-4-latest-preview", ["gpt-4"]), Some("gpt-4"));
        assert_eq!(nearest("gp", ["gpt-4-latest-preview"]), None);
    }

    #[test]
    fn the_nearest_come_first_and_no_more_than_asked_for() {
        let models = ["gpt-4o-mini", "claude-3", "gpt-4", "gpt-4o"];
        assert_eq!(nearest_few("gpt-4p", models, 2), ["gpt-4", "gpt-4o"]);
        assert_eq!(nearest_few("gpt-4p", models, 9), ["gpt-4", "gpt-4o"]);
    }

    #[test]
    fn a_swap_of_neighbours_is_one_edit() {
        let [a, b] = ["abcd", "abdc"].map(|name| name.chars().collect::<Vec<_>>());
        assert_eq!(edits(&a, &b, 1), Some(1));
        assert_eq!(edits(&a, &b, 0), None);
    }
}
