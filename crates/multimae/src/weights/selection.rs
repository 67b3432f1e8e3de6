//! The choice of one model among those of a file.
//!
//! A checkpoint may hold several state dicts (a model, its moving average), and a state dict may
//! hold several models behind prefixes. Each is a candidate with a path such as `model_ema.module`,
//! by which `--weights-key` and the recipe's `weights_key` choose.

use std::borrow::Cow;

use super::Problem;
use super::layout::Layout;
use super::names::{Group, groups, unwrapped, wrapper_of};

/// Components of paths by preference; the empty one is the file itself.
const PREFERRED: [&str; 11] = [
    "model",
    "state_dict",
    "model_state_dict",
    "model_state",
    "module",
    "net",
    "network",
    "backbone",
    "weights",
    "params",
    "",
];
/// Words in the names of averaged weights.
const AVERAGES: [&str; 5] = ["ema", "swa", "averaged", "avg", "shadow"];
/// Words in the names of state that is no model's.
const NO_MODELS: [&str; 6] = ["optim", "sched", "scaler", "balancer", "criterion", "rng"];
/// Names that are listed before the rest is counted.
const LISTED: usize = 8;

/// The advice for choosing.
const CHOOSE: &str = "choose with `--weights-key KEY` (`weights_key` in a recipe)";

/// A state dict in a file.
#[derive(Debug, Clone)]
pub(super) struct NamedDict<'a> {
    /// Its keys in the file, joined by dots; empty for the file itself.
    pub(super) path: String,
    /// The names of its tensors.
    pub(super) names: Vec<&'a str>,
}

/// The selected weights of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Selection {
    /// The index of the state dict.
    pub(super) dict: usize,
    /// The index and the new name of every tensor that is part of the model.
    pub(super) tensors: Vec<(usize, String)>,
    /// Notes about what was chosen, stripped and left out.
    pub(super) notices: Vec<String>,
}

/// Whether state under this key is no model's.
pub(super) fn is_no_model(key: &str) -> bool {
    let key = key.to_lowercase();
    NO_MODELS.iter().any(|word| key.contains(word))
}

/// Whether a key is that of averaged weights.
pub(super) fn is_average(key: &str) -> bool {
    let key = key.to_lowercase();
    key.split(['_', '.', '-']).any(|word| AVERAGES.contains(&word))
}

struct Candidate {
    dict: usize,
    group: Group,
    path: String,
}

impl Candidate {
    /// Smaller is preferred: known layouts, then weights that are no averages, then by name.
    fn rank(&self) -> (bool, bool, usize) {
        let place = |part: &str| PREFERRED.iter().position(|known| *known == part);
        let name = self.path.split('.').filter_map(place).min().unwrap_or(PREFERRED.len());
        (self.group.layout == Layout::Unknown, is_average(&self.path), name)
    }

    fn matches(&self, key: &str, dicts: &[NamedDict<'_>]) -> bool {
        let within = self.path.strip_prefix(key).is_some_and(|rest| rest.starts_with('.'));
        let ends = self.path.strip_suffix(key).is_some_and(|rest| rest.ends_with('.'));
        self.path == key || dicts[self.dict].path == key || within || ends
    }

    fn described(&self) -> String {
        let name = if self.path.is_empty() { "(the file itself)" } else { &self.path };
        format!("`{name}` ({} tensors, {})", self.group.tensors, self.group.layout)
    }
}

/// Selects the weights: those under `key` if it is given, else the only or the preferred ones.
///
/// # Errors
/// If there are none under the key, or several that nothing distinguishes.
pub(super) fn select(dicts: &[NamedDict<'_>], key: Option<&str>) -> Result<Selection, Problem> {
    let names: Vec<Vec<Cow<'_, str>>> =
        dicts.iter().map(|dict| dict.names.iter().map(|name| unwrapped(name)).collect()).collect();
    let candidates = candidates(dicts, &names);
    let wanted: Vec<&Candidate> = match key {
        Some(key) => candidates.iter().filter(|c| c.matches(key, dicts)).collect(),
        None => candidates.iter().collect(),
    };
    let Some(best) = wanted.iter().min_by_key(|candidate| candidate.rank()) else {
        return Err(match key {
            Some(key) => format!("holds no state dict `{key}`; there are {}", listed(&candidates)),
            None => "holds no state dict".to_owned(),
        });
    };
    if wanted.iter().filter(|candidate| candidate.rank() == best.rank()).count() > 1 {
        let all = listed(&candidates);
        return Err(format!("holds several state dicts, {all}; {CHOOSE}"));
    }
    let mut notices = Vec::new();
    if candidates.len() > 1 {
        let others = candidates.iter().filter(|other| other.path != best.path);
        let others: Vec<String> = others.map(Candidate::described).collect();
        notices.push(format!(
            "weights are those of {}; the file also holds {}; {CHOOSE}",
            best.described(),
            others.join(", ")
        ));
    } else if !matches!(dicts[best.dict].path.as_str(), "" | "model") {
        notices.push(format!("weights are those of `{}`", dicts[best.dict].path));
    }
    let tensors = tensors(&names[best.dict], best, &candidates, &mut notices)?;
    let wrapper = dicts[best.dict].names.iter().find_map(|name| wrapper_of(name));
    notices.extend(wrapper.map(|wrapper| format!("`{wrapper}.` is stripped from names")));
    Ok(Selection { dict: best.dict, tensors, notices })
}

fn candidates(dicts: &[NamedDict<'_>], names: &[Vec<Cow<'_, str>>]) -> Vec<Candidate> {
    let of = |(dict, names): (usize, &Vec<Cow<'_, str>>)| {
        let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
        let path = dicts[dict].path.clone();
        groups(&names).into_iter().map(move |group| {
            let prefix = group.prefix.trim_end_matches('.');
            let dot = if path.is_empty() || prefix.is_empty() { "" } else { "." };
            Candidate { dict, path: format!("{path}{dot}{prefix}"), group }
        })
    };
    names.iter().enumerate().flat_map(of).collect()
}

/// The tensors behind the prefix of the candidate, and behind that of no other one.
fn tensors(
    names: &[Cow<'_, str>],
    best: &Candidate,
    candidates: &[Candidate],
    notices: &mut Vec<String>,
) -> Result<Vec<(usize, String)>, Problem> {
    let prefix = best.group.prefix.as_str();
    let others: Vec<&str> = candidates
        .iter()
        .filter(|other| other.dict == best.dict && other.group.prefix.len() > prefix.len())
        .map(|other| other.group.prefix.as_str())
        .collect();
    let (mut tensors, mut left_out) = (Vec::new(), Vec::new());
    for (index, name) in names.iter().enumerate() {
        if others.iter().any(|other| name.starts_with(other)) {
            continue;
        }
        match name.strip_prefix(prefix) {
            Some(own) => tensors.push((index, own.to_owned())),
            None => left_out.push(name.as_ref()),
        }
    }
    if !prefix.is_empty() {
        notices.push(format!("prefix `{prefix}` is stripped from {} names", tensors.len()));
    }
    let elsewhere = |name: &&&str| {
        !candidates.iter().any(|c| c.dict == best.dict && name.starts_with(&c.group.prefix))
    };
    let left_out: Vec<&str> = left_out.iter().filter(elsewhere).copied().collect();
    if !left_out.is_empty() {
        let more = left_out.len().saturating_sub(LISTED);
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        let shown = left_out.iter().take(LISTED).copied().collect::<Vec<_>>().join(", ");
        notices.push(format!("left out, as not behind `{prefix}`: {shown}{more}"));
    }
    let mut unique: Vec<&str> = tensors.iter().map(|(_, name)| name.as_str()).collect();
    unique.sort_unstable();
    match unique.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(format!("two tensors are `{}` without their wrappers", pair[0])),
        None => Ok(tensors),
    }
}

fn listed(candidates: &[Candidate]) -> String {
    candidates.iter().map(Candidate::described).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIT: [&str; 3] = ["cls_token", "patch_embed.proj.weight", "blocks.0.norm1.weight"];

    fn dict<'a>(path: &str, names: &[&'a str]) -> NamedDict<'a> {
        NamedDict { path: path.to_owned(), names: names.to_vec() }
    }

    fn chosen(dicts: &[NamedDict<'_>], key: Option<&str>) -> String {
        dicts[select(dicts, key).unwrap().dict].path.clone()
    }

    #[test]
    fn a_model_is_preferred_to_its_average_and_an_average_to_nothing() {
        let (model, ema) = (dict("model", &VIT), dict("model_ema", &VIT));
        assert_eq!(chosen(&[ema.clone(), model.clone()], None), "model");
        assert_eq!(chosen(&[ema.clone(), model.clone()], Some("model_ema")), "model_ema");
        assert_eq!(chosen(&[dict("ema.module", &VIT)], None), "ema.module");
        assert_eq!(chosen(&[dict("ema.module", &VIT), model], Some("ema")), "ema.module");
        let notices = select(&[dict("state_dict_ema", &VIT)], None).unwrap().notices;
        assert_eq!(notices, ["weights are those of `state_dict_ema`"]);
    }

    #[test]
    fn a_known_layout_is_preferred_to_a_usual_name() {
        assert_eq!(chosen(&[dict("model", &["x"]), dict("other", &VIT)], None), "other");
    }

    #[test]
    fn equal_candidates_are_not_chosen_among() {
        let dicts = [dict("student", &VIT), dict("teacher", &VIT)];
        let problem = select(&dicts, None).unwrap_err();
        for word in ["`student` (3 tensors, timm ViT)", "`teacher`", "--weights-key"] {
            assert!(problem.contains(word), "{problem}");
        }
        assert_eq!(chosen(&dicts, Some("teacher")), "teacher");
        let problem = select(&dicts, Some("ema")).unwrap_err();
        assert!(problem.contains("no state dict `ema`; there are `student`"), "{problem}");
    }

    #[test]
    fn prefixes_are_paths_too() {
        let names: Vec<String> = ["model.", "ema."]
            .iter()
            .flat_map(|prefix| VIT.map(|name| format!("{prefix}{name}")))
            .chain(["head.bias".to_owned()])
            .collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let dicts = [dict("state_dict", &names)];
        let own = select(&dicts, None).unwrap();
        assert_eq!(own.tensors, [0, 1, 2].map(|i| (i, VIT[i].to_owned())));
        assert!(own.notices.iter().any(|notice| notice.contains("`state_dict.ema`")));
        assert!(own.notices.iter().any(|notice| notice.ends_with("`model.`: head.bias")));
        let average = select(&dicts, Some("ema")).unwrap();
        assert_eq!(average.tensors, [0, 1, 2].map(|i| (i + 3, VIT[i].to_owned())));
    }

    #[test]
    fn names_that_fall_together_are_refused() {
        let dicts = [dict("", &["_orig_mod.a", "a"])];
        assert!(select(&dicts, None).unwrap_err().contains("two tensors are `a`"));
    }
}
