//! The names that recipes know, and the nearest of them to another.

use super::recipe::Recipe;

/// Names further away than this are no misspelling.
const NEAR: f64 = 0.75;

pub(super) fn unknown<R: Recipe>(key: &str) -> String {
    let known = R::keys();
    unknown_of("key", key, &names_of::<R>(&known))
}

/// Returns the problem with a key, if a kind of recipe does not have it.
pub fn check_key<R: Recipe>(key: &str) -> Result<(), String> {
    let known = R::keys();
    let names = names_of::<R>(&known);
    if names.contains(&key) { Ok(()) } else { Err(unknown_of("key", key, &names)) }
}

/// All names that a kind of recipe reads.
fn names_of<R: Recipe>(keys: &[super::keys::KeyInfo]) -> Vec<&'static str> {
    let known = keys.iter().map(|key| key.name);
    let without_meaning = R::without_meaning().map(|(key, _)| key);
    known.chain(without_meaning).chain(R::ALIASES.iter().map(|(alias, _)| *alias)).collect()
}

/// That a name is none of those known, with the nearest of them.
pub fn unknown_of(what: &str, name: &str, known: &[&str]) -> String {
    let nearest = known
        .iter()
        .map(|known| (strsim::jaro_winkler(name, known), known))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(similarity, _)| *similarity >= NEAR);
    match nearest {
        Some((_, nearest)) => format!("unknown {what} `{name}`; did you mean `{nearest}`?"),
        None => format!("unknown {what} `{name}`"),
    }
}
