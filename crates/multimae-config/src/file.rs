//! From files and overrides to a recipe, and back into a file.

use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use fs_err as fs;
use serde_json::{Map, Value};

use super::keys::Keys;
use crate::{Error, Result};

/// Names further away than this are no misspelling.
const NEAR: f64 = 0.75;

/// One `--set key=value`; dots go into maps, as in `modalities.depth.divisor=1000`.
#[derive(Debug, Clone, PartialEq)]
pub struct Override {
    path: Vec<String>,
    value: Value,
}

impl Override {
    /// Sets a key that is in no map.
    #[must_use]
    pub fn new(key: &str, value: Value) -> Self {
        Self { path: vec![key.to_owned()], value }
    }

    /// Sets a key; dots go into maps.
    ///
    /// # Errors
    /// If a part of the key is empty.
    pub fn at(key: &str, value: Value) -> Result<Self, String> {
        let path: Vec<String> = key.trim().split('.').map(str::to_owned).collect();
        if path.iter().any(String::is_empty) {
            return Err(format!("`{key}` is no key"));
        }
        Ok(Self { path, value })
    }

    /// The recipe's key; where dots go into it, what is before the first.
    #[must_use]
    pub fn key(&self) -> &str {
        self.path.first().map_or("", String::as_str)
    }

    /// The key with its dots.
    #[must_use]
    pub fn full_key(&self) -> String {
        self.path.join(".")
    }

    /// What it is set to.
    #[must_use]
    pub fn value(&self) -> &Value {
        &self.value
    }
}

impl fmt::Display for Override {
    /// As it is read: JSON is YAML.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.full_key(), self.value)
    }
}

impl FromStr for Override {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (key, value) = text.split_once('=').ok_or("expected key=value")?;
        let value = if value.trim().is_empty() {
            Value::Null
        } else {
            serde_saphyr::from_str(value).unwrap_or_else(|_| value.into())
        };
        Self::at(key, value)
    }
}

/// A kind of recipe: its keys, and what is said about them.
pub trait Recipe: Keys {
    /// Keys of the published files that change nothing here, and why.
    const WITHOUT_MEANING: &'static [(&'static str, &'static str)];
    /// Keys that may differ when a run is resumed.
    const FREE_ON_RESUME: &'static [&'static str];
    /// Other names of keys, with the name used here.
    const ALIASES: &'static [(&'static str, &'static str)] = &[];

    /// The defaults for someone who sets these keys, and what is to be said about them.
    ///
    /// # Errors
    /// If the keys do not say enough.
    fn start(map: &Map<String, Value>) -> Result<(Self, Vec<String>)> {
        let _ = map;
        Ok((Self::default(), Vec::new()))
    }

    /// Checks what single keys cannot say.
    ///
    /// # Errors
    /// If keys do not fit together.
    fn check(&self) -> Result<()>;

    /// The recipe as a file that sets every key, with what each means.
    #[must_use]
    fn to_yaml(&self) -> String {
        let mut text =
            String::from("# The resolved recipe of this run: every key, as it was used.\n");
        let mut group = "";
        for (key, (name, value)) in Self::keys().iter().zip(self.values()) {
            if key.group != group {
                group = key.group;
                let _ = write!(text, "\n# ---- {group} ----\n");
            }
            for line in key.doc {
                let _ = writeln!(text, "#{line}");
            }
            // JSON is YAML.
            let _ = writeln!(text, "{name}: {value}");
        }
        text
    }

    /// What must be the same when a run is resumed, as JSON.
    #[must_use]
    fn fingerprint(&self) -> String {
        let fixed: Map<String, Value> = self
            .values()
            .into_iter()
            .filter(|(key, _)| !Self::FREE_ON_RESUME.contains(key))
            .map(|(key, value)| (key.to_owned(), value))
            .collect();
        Value::Object(fixed).to_string()
    }

    /// Checks that this recipe may continue a run that was begun with `fingerprint`.
    ///
    /// # Errors
    /// Lists the keys that differ.
    fn check_continues(&self, fingerprint: &str) -> Result<()> {
        check_same(fingerprint, &self.fingerprint())
    }
}

/// Compares what a run was begun with to what it is to go on with.
///
/// # Errors
/// Lists the keys that differ.
pub fn check_same(begun: &str, now: &str) -> Result<()> {
    let old: Map<String, Value> = serde_json::from_str(begun).unwrap_or_default();
    let new: Map<String, Value> = serde_json::from_str(now).unwrap_or_default();
    let differing: Vec<String> = new
        .iter()
        .filter(|(key, value)| old.get(*key) != Some(value))
        .map(|(key, value)| {
            format!("`{key}` was {}, now {value}", old.get(key).unwrap_or(&Value::Null))
        })
        .collect();
    if differing.is_empty() {
        return Ok(());
    }
    Err(Error::Recipe(format!(
        "the run was begun with another recipe: {}. Resume without changing these keys, or start a \
         new run in another folder",
        differing.join("; ")
    )))
}

/// A recipe and what is to be said about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolved<R> {
    /// Defaults, file and overrides together.
    pub recipe: R,
    /// Keys that change nothing here, and why.
    pub notices: Vec<String>,
}

impl<R: Recipe> Resolved<R> {
    /// Reads a file, if there is one, with those it builds on, and applies overrides.
    ///
    /// # Errors
    /// If a file cannot be read or is no map, files build on each other, a key is unknown, a value
    /// does not fit its key, or keys do not fit together.
    pub fn load(file: Option<&Path>, overrides: &[Override]) -> Result<Self> {
        let (mut map, source) = match file {
            Some(path) => (read_with_bases::<R>(path)?, path.display().to_string()),
            None => (Map::new(), "--set".to_owned()),
        };
        for change in overrides {
            insert(&mut map, &change.path, change.value.clone())
                .map_err(|problem| Error::Recipe(format!("--set: {problem}")))?;
        }
        Self::from_map(&map, &source)
    }

    /// From keys and values; `source` is named in errors.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn from_map(map: &Map<String, Value>, source: &str) -> Result<Self> {
        let mut problems = Vec::new();
        let map = without_aliases::<R>(map, &mut problems);
        let (recipe, notices) =
            R::start(&map).map_err(|error| Error::Recipe(format!("{source}: {error}")))?;
        let mut resolved = Self { recipe, notices };
        for (key, value) in &map {
            match resolved.recipe.set(key, value) {
                Some(Ok(())) => {}
                Some(Err(problem)) => problems.push(format!("`{key}`: {problem}")),
                None => match R::WITHOUT_MEANING.iter().find(|(known, _)| known == key) {
                    Some((_, why)) if says_something(value) => {
                        resolved.notices.push(format!("`{key}` changes nothing: {why}"));
                    }
                    Some(_) => {}
                    None => problems.push(unknown::<R>(key)),
                },
            }
        }
        if !problems.is_empty() {
            return Err(Error::Recipe(format!("{source}: {}", problems.join("; "))));
        }
        resolved.recipe.check()?;
        Ok(resolved)
    }
}

/// Whether a key without meaning was set to something that one would miss.
fn says_something(value: &Value) -> bool {
    !matches!(value, Value::Null | Value::Bool(false)) && value.as_str() != Some("")
}

/// The key that names the file that a recipe builds on, relative to the recipe's own folder.
const BASE: &str = "base";

/// The keys and values of a recipe over those of the recipe that it names as its base, which may
/// have one itself. A key replaces that of the base as a whole, also where it is a map.
fn read_with_bases<R: Recipe>(path: &Path) -> Result<Map<String, Value>> {
    let mut files: Vec<PathBuf> = Vec::new();
    let mut maps: Vec<Map<String, Value>> = Vec::new();
    let mut next = Some(path.to_owned());
    while let Some(path) = next {
        let problem = |problem: &str| Error::Recipe(format!("{}: {problem}", path.display()));
        let file = fs::canonicalize(&path)?;
        if files.contains(&file) {
            return Err(problem("builds on itself; `base` names another recipe"));
        }
        files.push(file);
        let mut map = read_map(&path)?;
        next = match map.shift_remove(BASE) {
            None | Some(Value::Null) => None,
            Some(Value::String(base)) => Some(path.parent().unwrap_or(Path::new("")).join(base)),
            Some(_) => return Err(problem("`base`: expected the path of a recipe")),
        };
        // Here, since a file and its base may call a key by different names.
        let mut problems = Vec::new();
        maps.push(without_aliases::<R>(&map, &mut problems));
        if let Some(first) = problems.first() {
            return Err(problem(first));
        }
    }
    Ok(maps.into_iter().rev().flatten().collect())
}

/// The keys and values of a YAML file.
///
/// # Errors
/// If it cannot be read or is no map.
pub fn read_map(path: &Path) -> Result<Map<String, Value>> {
    let text = fs::read_to_string(path)?;
    let problem = |problem: String| Error::Recipe(format!("{}: {problem}", path.display()));
    if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return Ok(Map::new());
    }
    match serde_saphyr::from_str::<Value>(&text) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err(problem("expected `key: value` lines".to_owned())),
        Err(error) => Err(problem(format!("not YAML: {error}"))),
    }
}

fn insert(map: &mut Map<String, Value>, path: &[String], value: Value) -> Result<(), String> {
    let Some((key, rest)) = path.split_first() else {
        return Ok(());
    };
    if rest.is_empty() {
        map.insert(key.clone(), value);
        return Ok(());
    }
    let inner = map.entry(key.clone()).or_insert_with(|| Value::Object(Map::new()));
    if inner.is_null() {
        *inner = Value::Object(Map::new());
    }
    match inner {
        Value::Object(inner) => insert(inner, rest, value),
        other => Err(format!("`{key}` is {other}, which has no `{}`", rest.join("."))),
    }
}

/// The keys under the names used here.
fn without_aliases<R: Recipe>(
    map: &Map<String, Value>,
    problems: &mut Vec<String>,
) -> Map<String, Value> {
    let mut renamed = Map::new();
    for (key, value) in map {
        let alias = R::ALIASES.iter().find(|(alias, _)| alias == key);
        let name = alias.map_or(key.as_str(), |(_, name)| name);
        if alias.is_some() && map.contains_key(name) {
            problems.push(format!("`{key}` and `{name}` are the same key; set one"));
        }
        renamed.insert(name.to_owned(), value.clone());
    }
    renamed
}

fn unknown<R: Recipe>(key: &str) -> String {
    let known = R::keys();
    unknown_of("key", key, &names_of::<R>(&known))
}

/// What is wrong with a key, if a kind of recipe does not have it.
pub fn check_key<R: Recipe>(key: &str) -> Result<(), String> {
    let known = R::keys();
    let names = names_of::<R>(&known);
    if names.contains(&key) { Ok(()) } else { Err(unknown_of("key", key, &names)) }
}

/// All names that a kind of recipe reads.
fn names_of<R: Recipe>(keys: &[super::keys::KeyInfo]) -> Vec<&'static str> {
    let known = keys.iter().map(|key| key.name);
    let without_meaning = R::WITHOUT_MEANING.iter().map(|(key, _)| *key);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BalancerChoice, Names, PretrainRecipe};

    fn load(text: &str, overrides: &[&str]) -> Result<Resolved<PretrainRecipe>> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("recipe.yaml");
        fs::write(&path, text).unwrap();
        let overrides: Vec<Override> = overrides.iter().map(|o| o.parse().unwrap()).collect();
        Resolved::load(Some(&path), &overrides)
    }

    /// The keys of the published pre-training files, with their values.
    const PUBLISHED: &str = "
in_domains: rgb-depth-semseg
out_domains: rgb-depth-semseg
standardize_depth: True
extra_norm_pix_loss: True
model: pretrain_multimae_base
decoder_dim: 256
input_size: 224
patch_size: 16
alphas: 1.0 # Dirichlet concentration
num_encoded_tokens: 98
num_global_tokens: 1
decoder_use_task_queries: True
decoder_depth: 2
epochs: 1600
opt: adamw
blr: 0.0001
warmup_lr: 0.000001
min_lr: 0.
warmup_epochs: 40
warmup_steps: -1
batch_size: 256
hflip: 0.5
loss_on_unmasked: False
fp32_output_adapters: semseg
log_wandb: False
wandb_project: multimae-pretrain
wandb_entity: null
wandb_run_name: multimae-b_98_rgb+-depth-semseg_1600e
output_dir: 'output/pretrain/multimae-b_98_rgb+-depth-semseg_1600e'
";

    #[test]
    fn published_files_load_unchanged() {
        let Resolved { recipe, notices } = load(PUBLISHED, &[]).unwrap();
        assert_eq!(recipe.in_domains, Names::joined("rgb-depth-semseg"));
        assert!(recipe.standardize_depth && recipe.extra_norm_pix_loss);
        assert_eq!((recipe.epochs, recipe.num_encoded_tokens), (1600, 98));
        assert_eq!(recipe.model.config.width, 768);
        assert!((recipe.lr() - 1e-4).abs() < 1e-12);
        let named: Vec<&str> =
            notices.iter().filter_map(|notice| notice.split('`').nth(1)).collect();
        assert_eq!(named, ["warmup_lr", "fp32_output_adapters", "wandb_project", "wandb_run_name"]);
    }

    #[test]
    fn a_recipe_builds_on_others() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        let read = |name: &str| Resolved::<PretrainRecipe>::load(Some(&dir.path().join(name)), &[]);
        fs::create_dir(dir.path().join("more")).unwrap();
        write("first.yaml", "epochs: 3\nblr: 1e-3\nmodalities: {depth: {divisor: 1000}}");
        write("second.yaml", "base: first.yaml\nblr: 2e-3\n");
        write("more/third.yaml", "base: ../second.yaml\nepochs: 5\nmodalities: {depth: {unit: m}}");
        let recipe = read("more/third.yaml").unwrap().recipe;
        assert_eq!((recipe.epochs, recipe.blr), (5, 2e-3));
        let depth = &recipe.modalities.0["depth"];
        assert_eq!((depth.divisor, depth.unit.as_deref()), (None, Some("m")));
        write("first.yaml", "base: more/third.yaml");
        let error = read("second.yaml").unwrap_err().to_string();
        assert!(error.contains("second.yaml") && error.contains("builds on itself"), "{error}");
        write("more/third.yaml", "base: gone.yaml");
        assert!(read("first.yaml").unwrap_err().to_string().contains("gone.yaml"));
        write("first.yaml", "base: [a]");
        assert!(read("first.yaml").unwrap_err().to_string().contains("`base`"));
    }

    #[test]
    fn a_misspelt_key_names_the_nearest() {
        let error = load("epohcs: 3", &[]).unwrap_err().to_string();
        assert!(error.contains("`epohcs`") && error.contains("did you mean `epochs`"), "{error}");
        assert!(error.contains("recipe.yaml"), "{error}");
        let error = load("zzz: 3", &[]).unwrap_err().to_string();
        assert!(!error.contains("did you mean"), "{error}");
    }

    #[test]
    fn overrides_come_last_and_reach_into_maps() {
        let text = "blr: 1e-3\nmodalities:\n  depth: {divisor: 65536, unit: m}\n";
        let overrides = ["blr=2e-3", "modalities.depth.divisor=1000", "task_balancer=uncertainty"];
        let recipe = load(text, &overrides).unwrap().recipe;
        assert_eq!(recipe.blr, 2e-3);
        let depth = &recipe.modalities.0["depth"];
        assert_eq!((depth.divisor, depth.unit.as_deref()), (Some(1000.0), Some("m")));
        assert_eq!(recipe.task_balancer, BalancerChoice::Uncertainty);
        assert!("novalue".parse::<Override>().is_err());
        for text in ["a.b=null", "a={\"b\":[1,0.001]}", "a=\"1\""] {
            let change: Override = text.parse().unwrap();
            assert_eq!(change.to_string(), text);
            assert_eq!(change.key(), "a");
        }
        assert!(load("blr: 1", &["blr.x=1"]).is_err());
    }

    #[test]
    fn the_written_recipe_reads_back() {
        let recipe = load(PUBLISHED, &["input_size=[96, 128]", "clip_grad=3"]).unwrap().recipe;
        let again = load(&recipe.to_yaml(), &[]).unwrap();
        assert_eq!(again.recipe, recipe);
        assert!(again.notices.is_empty());
    }

    #[test]
    fn values_that_do_not_fit_are_all_named() {
        let error = load("epochs: many\nblr: fast\n", &[]).unwrap_err().to_string();
        assert!(error.contains("`epochs`") && error.contains("`blr`"), "{error}");
        assert!(load("epochs: 0", &[]).is_err());
        assert!(load("clip_grad: 1\nskip_grad: 2", &[]).is_err());
        assert!(load("- a\n- b", &[]).is_err());
        assert!(load("epochs: 1\nepochs: 2", &[]).is_err());
    }

    #[test]
    fn a_run_continues_with_its_own_recipe_only() {
        let recipe = load(PUBLISHED, &[]).unwrap().recipe;
        let same = load(PUBLISHED, &["num_workers=7", "data_path=elsewhere"]).unwrap().recipe;
        same.check_continues(&recipe.fingerprint()).unwrap();
        let other = load(PUBLISHED, &["blr=3"]).unwrap().recipe;
        let error = other.check_continues(&recipe.fingerprint()).unwrap_err().to_string();
        assert!(error.contains("`blr` was 0.0001, now 3"), "{error}");
    }
}
