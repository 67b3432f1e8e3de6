//! The choice of one model among those of a file.
//!
//! A checkpoint may hold several state dicts (a model, its moving average), and a state dict may
//! hold several models behind prefixes. Each is a candidate with a path such as `model_ema.module`,
//! by which `--weights-key` and the recipe's `weights_key` choose.

use std::borrow::Cow;

use super::Problem;
use super::layout::Layout;
use super::names::{Group, groups, unwrapped, wrapper_of};

/// Keys of state dicts by preference; the empty one is the file itself.
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
const AVERAGES: [&str; 6] = ["ema", "swa", "average", "averaged", "avg", "shadow"];
/// Words in the names of state that is no model's, without numbers and plural.
const NO_MODELS: [&str; 7] =
    ["optim", "sched", "scaler", "gradscaler", "balancer", "criterion", "rng"];
/// Parts of words in such names, as in `optimizerD`.
const NO_MODEL_PARTS: [&str; 3] = ["optimizer", "optimiser", "scheduler"];
/// Names that are listed before the rest is counted.
const LISTED: usize = 8;

/// The advice for choosing.
const CHOOSE: &str = "choose with `--weights-key KEY` (`weights_key` in a recipe)";

/// A state dict in a file.
#[derive(Debug, Clone)]
pub(super) struct NamedDict<'a> {
    /// Its keys in the file, joined by dots, one path for every name that the file shares it under;
    /// empty for the file itself.
    pub(super) paths: Vec<String>,
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

/// The words of a key in lower case.
fn words(key: &str) -> Vec<String> {
    let words = key.split(|c: char| !c.is_alphanumeric());
    words.filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
}

/// Whether state under this key is no model's.
pub(super) fn is_no_model(key: &str) -> bool {
    words(key).iter().any(|word| {
        let stem = word.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches('s');
        NO_MODELS.contains(&stem) || NO_MODEL_PARTS.iter().any(|part| word.contains(part))
    })
}

/// Whether a key is that of averaged weights.
pub(super) fn is_average(key: &str) -> bool {
    words(key).iter().any(|word| AVERAGES.contains(&word.as_str()))
}

struct Candidate {
    dict: usize,
    group: Group,
    /// Those of the state dict with the prefix of the group.
    paths: Vec<String>,
}

impl Candidate {
    fn described(&self) -> String {
        let path = &self.paths[0];
        let name = if path.is_empty() { "(the file itself)" } else { path };
        format!("`{name}` ({} tensors, {})", self.group.tensors, self.group.layout)
    }

    fn is_known(&self) -> bool {
        self.group.layout != Layout::Unknown
    }
}

/// Leaves those that pass a test, if any does.
fn keep<T>(candidates: &mut Vec<T>, test: impl Fn(&T) -> bool) {
    if candidates.iter().any(&test) {
        candidates.retain(test);
    }
}

/// Leaves those with the smallest number.
fn keep_least<T>(candidates: &mut Vec<T>, number: impl Fn(&T) -> usize) {
    let least = candidates.iter().map(&number).min();
    candidates.retain(|candidate| Some(number(candidate)) == least);
}

/// The preferred candidates: known layouts, then weights that are no averages, then by the key of
/// the state dict, then names without a prefix. Prefixes say nothing else: wrappers such as
/// `module.` may be around any model.
fn preferred<'a>(candidates: &'a [Candidate], dicts: &[NamedDict<'_>]) -> Vec<&'a Candidate> {
    let mut best: Vec<&Candidate> = candidates.iter().collect();
    keep(&mut best, |candidate| candidate.is_known());
    keep(&mut best, |candidate| candidate.paths.iter().any(|path| !is_average(path)));
    let paths = best.iter().flat_map(|candidate| &dicts[candidate.dict].paths);
    let common = common_components(paths.map(String::as_str));
    let place = |path: &String| {
        let key = path.split('.').nth(common).unwrap_or_default();
        PREFERRED.iter().position(|known| *known == key).unwrap_or(PREFERRED.len())
    };
    keep_least(&mut best, |candidate| {
        dicts[candidate.dict].paths.iter().map(place).min().unwrap_or(PREFERRED.len())
    });
    if best.iter().all(|candidate| candidate.dict == best[0].dict) {
        keep(&mut best, |candidate| candidate.group.prefix.is_empty());
    }
    best
}

/// The number of components with which all paths begin.
fn common_components<'a>(mut paths: impl Iterator<Item = &'a str>) -> usize {
    let Some(first) = paths.next() else { return 0 };
    let first: Vec<&str> = first.split('.').collect();
    let same = |path: &str| path.split('.').zip(&first).take_while(|(a, b)| a == *b).count();
    paths.map(same).min().unwrap_or(first.len()).min(first.len())
}

/// The preferred candidates of those with the key in a path: known layouts, then weights that are
/// averages by nothing but the key, then the shortest path.
fn under<'a>(candidates: &'a [Candidate], key: &str) -> Vec<&'a Candidate> {
    let around = |candidate: &'a Candidate| {
        let around = candidate.paths.iter().filter_map(|path| components_around(path, key));
        Some((candidate, around.min_by_key(Vec::len)?))
    };
    let mut best: Vec<(&Candidate, Vec<&str>)> = candidates.iter().filter_map(around).collect();
    keep(&mut best, |(candidate, _)| candidate.is_known());
    keep(&mut best, |(_, around)| !around.iter().any(|component| is_average(component)));
    keep_least(&mut best, |(_, around)| around.len());
    best.into_iter().map(|(candidate, _)| candidate).collect()
}

/// The components of a path besides a run of those of the key; `None` if they are no part of it.
fn components_around<'a>(path: &'a str, key: &str) -> Option<Vec<&'a str>> {
    let path: Vec<&str> = path.split('.').collect();
    let key: Vec<&str> = key.trim_matches('.').split('.').collect();
    let start = path.windows(key.len()).position(|run| run == key)?;
    Some([&path[..start], &path[start + key.len()..]].concat())
}

/// Selects the weights: those under `key` if it is given, else the only or the preferred ones.
///
/// # Errors
/// If there are none under the key, or several that nothing distinguishes.
pub(super) fn select(dicts: &[NamedDict<'_>], key: Option<&str>) -> Result<Selection, Problem> {
    let names: Vec<Vec<Cow<'_, str>>> =
        dicts.iter().map(|dict| dict.names.iter().map(|name| unwrapped(name)).collect()).collect();
    let candidates = candidates(dicts, &names);
    let wanted = match key {
        Some(key) => under(&candidates, key),
        None => preferred(&candidates, dicts),
    };
    let best = match (wanted.as_slice(), key) {
        ([best], _) => *best,
        ([], Some(key)) => {
            let all = listed(candidates.iter());
            return Err(format!("holds no state dict `{key}`; there are {all}"));
        }
        ([], None) => return Err("holds no state dict".to_owned()),
        (several, Some(key)) => {
            let several = listed(several.iter().copied());
            return Err(format!(
                "holds several state dicts under the key `{key}`: {several}; give more of the path                  of one of them"
            ));
        }
        (_, None) => {
            let all = listed(candidates.iter());
            return Err(format!("holds several state dicts, {all}; {CHOOSE}"));
        }
    };
    let mut notices = Vec::new();
    let path = dicts[best.dict].paths[0].as_str();
    if candidates.len() > 1 {
        let others = candidates.iter().filter(|other| !std::ptr::eq(*other, best));
        notices.push(format!(
            "weights are those of {}; the file also holds {}; {CHOOSE}",
            best.described(),
            listed(others)
        ));
    } else if !matches!(path, "" | "model") {
        notices.push(format!("weights are those of `{path}`"));
    }
    let tensors = tensors(&names[best.dict], best, &candidates, &mut notices)?;
    let wrapper = dicts[best.dict].names.iter().find_map(|name| wrapper_of(name));
    notices.extend(wrapper.map(|wrapper| format!("`{wrapper}.` is stripped from names")));
    Ok(Selection { dict: best.dict, tensors, notices })
}

fn candidates(dicts: &[NamedDict<'_>], names: &[Vec<Cow<'_, str>>]) -> Vec<Candidate> {
    let of = |(dict, names): (usize, &Vec<Cow<'_, str>>)| {
        let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
        let paths = dicts[dict].paths.clone();
        groups(&names).into_iter().map(move |group| {
            let prefix = group.prefix.trim_end_matches('.');
            let whole = |path: &String| {
                let dot = if path.is_empty() || prefix.is_empty() { "" } else { "." };
                format!("{path}{dot}{prefix}")
            };
            Candidate { dict, paths: paths.iter().map(whole).collect(), group }
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

fn listed<'a>(candidates: impl Iterator<Item = &'a Candidate>) -> String {
    candidates.map(Candidate::described).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIT: [&str; 3] = ["cls_token", "patch_embed.proj.weight", "blocks.0.norm1.weight"];

    fn dict<'a>(path: &str, names: &[&'a str]) -> NamedDict<'a> {
        NamedDict { paths: vec![path.to_owned()], names: names.to_vec() }
    }

    fn chosen(dicts: &[NamedDict<'_>], key: Option<&str>) -> String {
        dicts[select(dicts, key).unwrap().dict].paths[0].clone()
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

    /// Names behind each of the prefixes.
    fn behind(prefixes: &[&str]) -> Vec<String> {
        let own = |prefix: &&str| VIT.map(|name| format!("{prefix}{name}"));
        prefixes.iter().flat_map(own).collect()
    }

    #[test]
    fn wrappers_inside_state_dicts_distinguish_no_models() {
        let (student, teacher) = (behind(&["module.backbone."]), behind(&["backbone."]));
        let student: Vec<&str> = student.iter().map(String::as_str).collect();
        let teacher: Vec<&str> = teacher.iter().map(String::as_str).collect();
        let dicts = [dict("student", &student), dict("teacher", &teacher)];
        let problem = select(&dicts, None).unwrap_err();
        assert!(problem.contains("`student.module.backbone`"), "{problem}");
        assert!(problem.contains("`teacher.backbone`"), "{problem}");
        assert_eq!(chosen(&dicts, Some("teacher")), "teacher");
        // Nor do keys inside of them.
        let dicts = [dict("student.state_dict", &VIT), dict("teacher.model", &VIT)];
        assert!(select(&dicts, None).unwrap_err().contains("several state dicts"));
        // A common key does not hide the others.
        let dicts = [dict("checkpoint.critic", &VIT), dict("checkpoint.model", &VIT)];
        assert_eq!(chosen(&dicts, None), "checkpoint.model");
        // An average inside a usual key is one.
        let dicts = [dict("model.ema", &VIT), dict("weights", &VIT)];
        assert_eq!(chosen(&dicts, None), "weights");
    }

    #[test]
    fn a_key_is_any_run_of_the_components_of_a_path() {
        let first = |names: &[&str], path: &str, key: Option<&str>| {
            let names = behind(names);
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            select(&[dict(path, &names)], key).map(|selection| selection.tensors[0].0 / 3)
        };
        let heads = ["student.backbone.", "teacher.backbone."];
        assert_eq!(first(&heads, "state_dict", Some("teacher")), Ok(1));
        assert_eq!(first(&heads, "state_dict", Some("teacher.backbone")), Ok(1));
        assert_eq!(first(&heads, "state_dict", Some("state_dict.student")), Ok(0));
        let problem = first(&heads, "state_dict", Some("backbone")).unwrap_err();
        assert!(problem.contains("under the key `backbone`"), "{problem}");
        assert!(problem.contains("`state_dict.teacher.backbone`"), "{problem}");
        assert!(first(&heads, "state_dict", Some("teach")).is_err());
        let averaged = ["model.", "model_ema.module."];
        assert_eq!(first(&averaged, "state_dict", Some("model_ema")), Ok(1));
        assert_eq!(first(&averaged, "state_dict", Some("state_dict")), Ok(0));
        assert_eq!(first(&averaged, "", None), Ok(0));
        // The shortest path, where the key has an average in it that was not asked for.
        assert_eq!(first(&["net.online.", "ema."], "state_dict", Some("state_dict")), Ok(0));
        assert_eq!(first(&["", "teacher."], "state_dict", None), Ok(0));
        let dicts = [dict("a.b.teacher", &VIT), dict("a.teacher", &VIT)];
        assert_eq!(chosen(&dicts, Some("teacher")), "a.teacher");
    }

    #[test]
    fn a_dict_under_several_names_has_the_best_of_them() {
        let both = |one: &str, other: &str| NamedDict {
            paths: vec![one.to_owned(), other.to_owned()],
            names: VIT.to_vec(),
        };
        let dicts = [dict("student", &VIT), both("teacher", "model")];
        assert_eq!(select(&dicts, None).unwrap().dict, 1);
        let dicts = [dict("net", &VIT), both("ema", "model")];
        assert_eq!(select(&dicts, None).unwrap().dict, 1);
        assert_eq!(select(&dicts, Some("ema")).unwrap().dict, 1);
    }

    #[test]
    fn state_that_is_no_model_is_named_in_words() {
        for key in [
            "optimizer",
            "optimizer_states",
            "optimizerD",
            "optim",
            "optimizer1",
            "lr_schedulers",
            "lr_sched",
            "amp_scaler",
            "GradScaler",
            "loss_balancer",
            "rng_state",
            "rngs",
        ] {
            assert!(is_no_model(key), "{key}");
        }
        for key in ["optimal_model", "model", "upscaler", "string_model", "rescheduled"] {
            assert!(!is_no_model(key), "{key}");
        }
    }

    #[test]
    fn names_that_fall_together_are_refused() {
        let dicts = [dict("", &["_orig_mod.a", "a"])];
        assert!(select(&dicts, None).unwrap_err().contains("two tensors are `a`"));
    }
}
