//! Names of tensors without what training tools wrap around them.

use std::borrow::Cow;

use indexmap::IndexMap;

use super::layout::Layout;

/// Components of names that `torch.compile`, FSDP and activation checkpoints put anywhere.
const WRAPPERS: [&str; 3] = ["_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"];
/// Names of an encoder's tensors, behind a prefix: one in every layout that has prefixes.
const MARKERS: [&str; 3] = [
    "patch_embed.proj.weight",
    "encoder.0.norm1.weight",
    "embeddings.patch_embeddings.projection.weight",
];
/// More prefixes in a file are not looked at.
const MAX_PREFIXES: usize = 16;

/// A name without wrapping components.
pub(super) fn unwrapped(name: &str) -> Cow<'_, str> {
    if !WRAPPERS.iter().any(|wrapper| name.contains(wrapper)) {
        return Cow::Borrowed(name);
    }
    let parts: Vec<&str> = name.split('.').filter(|part| !WRAPPERS.contains(part)).collect();
    Cow::Owned(parts.join("."))
}

/// The wrapping component of a name, if it has one.
pub(super) fn wrapper_of(name: &str) -> Option<&'static str> {
    WRAPPERS.into_iter().find(|wrapper| name.split('.').any(|part| part == *wrapper))
}

/// Tensors of a state dict that make a model, behind a common prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    /// With the dot at its end; empty for none.
    pub(super) prefix: String,
    pub(super) layout: Layout,
    pub(super) tensors: usize,
}

/// The models that a state dict holds: as a rule one, behind no prefix or `module.`, `model.` and
/// the like. If none is known, all tensors are one group of the unknown layout.
pub(super) fn groups(names: &[&str]) -> Vec<Group> {
    let mut prefixes: IndexMap<&str, ()> = IndexMap::new();
    for name in names {
        let prefix = MARKERS.iter().find_map(|marker| name.strip_suffix(marker));
        if let Some(prefix) = prefix.filter(|prefix| prefix.is_empty() || prefix.ends_with('.'))
            && prefixes.len() < MAX_PREFIXES
        {
            prefixes.insert(prefix, ());
        }
    }
    let group = |prefix: &&str| {
        let own: Vec<&str> = names.iter().filter_map(|name| name.strip_prefix(prefix)).collect();
        let layout = Layout::of_names(&own);
        Group { prefix: (*prefix).to_owned(), layout, tensors: own.len() }
    };
    let found: Vec<Group> =
        prefixes.keys().map(group).filter(|group| group.layout.has_encoder()).collect();
    if !found.is_empty() {
        return found;
    }
    let prefix = shared_wrapper(names);
    let own: Vec<&str> = names.iter().filter_map(|name| name.strip_prefix(prefix)).collect();
    vec![Group { prefix: prefix.to_owned(), layout: Layout::of_names(&own), tensors: own.len() }]
}

/// The prefix that data-parallel training puts before all names, if they have it.
fn shared_wrapper<'a>(names: &[&str]) -> &'a str {
    const MODULE: &str = "module.";
    let all = names.iter().all(|name| name.len() > MODULE.len() && name.starts_with(MODULE));
    if all && !names.is_empty() { MODULE } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIT: [&str; 3] = ["cls_token", "patch_embed.proj.weight", "blocks.0.norm1.weight"];

    fn prefixes(names: &[String]) -> Vec<String> {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        groups(&names).into_iter().map(|group| group.prefix).collect()
    }

    fn behind(prefix: &str) -> Vec<String> {
        VIT.iter().map(|name| format!("{prefix}{name}")).collect()
    }

    #[test]
    fn prefixes_of_any_depth_are_found() {
        for prefix in ["", "module.", "model.net.", "module.model.backbone.", "anything."] {
            let mut names = behind(prefix);
            names.push("head.weight".to_owned());
            assert_eq!(prefixes(&names), [prefix]);
        }
    }

    #[test]
    fn several_models_are_several_groups() {
        assert_eq!(prefixes(&[behind("model."), behind("ema.")].concat()), ["model.", "ema."]);
    }

    #[test]
    fn other_names_stay_unless_all_are_wrapped() {
        assert_eq!(prefixes(&["a.b".to_owned(), "module.c".to_owned()]), [""]);
        assert_eq!(prefixes(&["module.a".to_owned(), "module.c".to_owned()]), ["module."]);
    }

    #[test]
    fn wrapping_components_are_taken_out_anywhere() {
        assert_eq!(unwrapped("_orig_mod.cls_token"), "cls_token");
        assert_eq!(unwrapped("blocks.0._checkpoint_wrapped_module.norm1"), "blocks.0.norm1");
        assert_eq!(unwrapped("my_orig_mod.x"), "my_orig_mod.x");
        assert_eq!(wrapper_of("a._orig_mod.b"), Some("_orig_mod"));
    }
}
