//! Groups of parameters that learn at rates of their own: layer-wise decay of the learning rate
//! (Clark et al., 2020; Bao et al., 2022), and what weight decay leaves alone.

use indexmap::IndexMap;
use multimae::state::ParameterInfo;
use multimae::tuning::ParameterKind;

use super::StepRates;

/// Tokens and embeddings, by a component of their name. They are no weights of a map.
const UNDECAYED: [&str; 6] =
    ["global_tokens", "pos_emb", "class_emb", "cls_emb", "mask_token", "task_embeddings"];

/// The rules of the groups.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupRules {
    /// Factor of the learning rate from each layer to the one before it.
    pub layer_decay: f64,
    /// Blocks of the encoder.
    pub depth: usize,
    /// Whether layer 0, the input adapters and global tokens, is slowed too.
    pub scale_input_lr: bool,
    /// Parameters that learn at the full rate.
    pub full_rate: Vec<String>,
    /// Factor of the rate of pre-trained parameters, besides the decay by layer.
    pub backbone_lr_scale: f64,
    /// Factor of the rate of what tuning adds to the encoder.
    pub added_lr_scale: f64,
}

/// Parameters that learn alike.
#[derive(Debug, Clone, PartialEq)]
pub struct ParameterGroup {
    /// `layer_<layer>_decay`, `layer_<layer>_no_decay`, or the name of an addition.
    pub name: String,
    /// Factor of the learning rate.
    pub lr_scale: f64,
    /// Whether weight decay applies.
    pub decays: bool,
    /// The names of its parameters.
    pub parameters: Vec<String>,
    /// The number of their values.
    pub values: usize,
}

/// All trained parameters in groups, from the first layer to the heads.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ParameterGroups {
    groups: Vec<ParameterGroup>,
    by_name: IndexMap<String, usize>,
}

impl GroupRules {
    /// The layer of a parameter: 0 before the first block, `k + 1` in block `k`, `depth + 1` after
    /// the last.
    #[must_use]
    pub fn layer(&self, name: &str) -> usize {
        if name == "global_tokens" || name.starts_with("input_adapters.") {
            return 0;
        }
        let block = name.strip_prefix("encoder.").and_then(|rest| rest.split('.').next());
        match block.and_then(|block| block.parse::<usize>().ok()) {
            Some(block) => block + 1,
            None => self.depth + 1,
        }
    }

    /// The factor of a layer's learning rate: `layer_decay ^ (depth + 1 - layer)`, and for layers
    /// of the backbone its own factor.
    #[must_use]
    pub fn lr_scale(&self, layer: usize) -> f64 {
        let backbone = if layer <= self.depth { self.backbone_lr_scale } else { 1.0 };
        if layer == 0 && !self.scale_input_lr {
            return backbone;
        }
        backbone * self.layer_decay.powi((self.depth + 1).saturating_sub(layer) as i32)
    }

    /// The group of a parameter: its place in the order of groups, its name, and the factor of its
    /// learning rate.
    fn group(&self, parameter: &ParameterInfo) -> (usize, String, f64) {
        let kind = ParameterKind::of(&parameter.name);
        if kind.is_peft() {
            let place = self.depth + 2 + kind as usize;
            return (place, kind.name().to_owned(), self.added_lr_scale);
        }
        let full = self.full_rate.contains(&parameter.name);
        let layer = if full { self.depth + 1 } else { self.layer(&parameter.name) };
        let suffix = if decays(parameter) { "decay" } else { "no_decay" };
        (layer, format!("layer_{layer}_{suffix}"), self.lr_scale(layer))
    }
}

/// Whether weight decay applies to a parameter: not to vectors (norms and biases), tokens and
/// embeddings, and not to what tuning adds to the encoder.
#[must_use]
pub fn decays(parameter: &ParameterInfo) -> bool {
    parameter.shape.len() > 1
        && !ParameterKind::of(&parameter.name).is_peft()
        && !parameter.name.split('.').any(|component| UNDECAYED.contains(&component))
}

impl ParameterGroups {
    /// Puts the parameters that are trained into groups.
    #[must_use]
    pub fn new(rules: &GroupRules, parameters: &[ParameterInfo]) -> Self {
        let mut groups: Vec<(usize, ParameterGroup)> = Vec::new();
        for parameter in parameters.iter().filter(|parameter| parameter.trainable) {
            let (order, name, lr_scale) = rules.group(parameter);
            let place = groups.iter().position(|(_, group)| group.name == name);
            let place = place.unwrap_or_else(|| {
                let decays = decays(parameter);
                let group =
                    ParameterGroup { name, lr_scale, decays, parameters: Vec::new(), values: 0 };
                groups.push((order, group));
                groups.len() - 1
            });
            let group = &mut groups[place].1;
            group.values += parameter.shape.iter().product::<usize>();
            group.parameters.push(parameter.name.clone());
        }
        groups.sort_by_key(|(order, group)| (*order, !group.decays));
        let groups: Vec<ParameterGroup> = groups.into_iter().map(|(_, group)| group).collect();
        let names = |(index, group): (usize, &ParameterGroup)| {
            group.parameters.iter().map(move |name| (name.clone(), index)).collect::<Vec<_>>()
        };
        let by_name = groups.iter().enumerate().flat_map(names).collect();
        Self { groups, by_name }
    }

    /// The groups, from the first layer to the heads.
    #[must_use]
    pub fn groups(&self) -> &[ParameterGroup] {
        &self.groups
    }

    /// The rate of a parameter where that of the heads is `full`.
    #[must_use]
    pub fn rate(&self, name: &str, full: StepRates) -> StepRates {
        match self.by_name.get(name).and_then(|&index| self.groups.get(index)) {
            Some(group) => StepRates {
                lr: full.lr * group.lr_scale,
                weight_decay: if group.decays { full.weight_decay } else { 0.0 },
            },
            None => full,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(layer_decay: f64) -> GroupRules {
        GroupRules {
            layer_decay,
            depth: 12,
            scale_input_lr: true,
            full_rate: Vec::new(),
            backbone_lr_scale: 1.0,
            added_lr_scale: 3.0,
        }
    }

    fn parameter(name: &str, shape: &[usize]) -> ParameterInfo {
        ParameterInfo { name: name.to_owned(), shape: shape.to_vec(), trainable: true }
    }

    #[test]
    fn published_scales() {
        let scales = |decay: f64, names: &[&str]| -> Vec<f64> {
            let rules = rules(decay);
            names.iter().map(|name| rules.lr_scale(rules.layer(name))).collect()
        };
        let names = [
            "input_adapters.rgb.proj.weight",
            "global_tokens",
            "encoder.0.norm1.weight",
            "encoder.10.mlp.fc1.weight",
            "encoder.11.attn.qkv.bias",
            "output_adapters.depth.head.0.weight",
        ];
        for (decay, expected) in [
            (0.75, [0.023_757, 0.023_757, 0.031_676, 0.5625, 0.75, 1.0]),
            (0.65, [0.003_697, 0.003_697, 0.005_688, 0.4225, 0.65, 1.0]),
        ] {
            for (got, expected) in scales(decay, &names).iter().zip(expected) {
                assert!((got - expected).abs() < 1e-6, "{decay}: {got} {expected}");
            }
        }
        let unscaled = GroupRules { scale_input_lr: false, ..rules(0.75) };
        assert_eq!(unscaled.lr_scale(0), 1.0);
        assert!((unscaled.lr_scale(1) - 0.031_676).abs() < 1e-6);
    }

    #[test]
    fn additions_learn_at_a_rate_of_their_own() {
        let rules = GroupRules { backbone_lr_scale: 0.5, ..rules(0.75) };
        let names = [
            "encoder.3.attn.qkv.lora.a",
            "prompts.tokens",
            "encoder.11.attn.qkv.weight",
            "output_adapters.depth.head.weight",
        ];
        let groups = ParameterGroups::new(&rules, &names.map(|name| parameter(name, &[4, 8])));
        let full = StepRates { lr: 1.0, weight_decay: 0.05 };
        let rates = names.map(|name| groups.rate(name, full));
        assert_eq!(rates.map(|rate| rate.lr), [3.0, 3.0, 0.5 * 0.75, 1.0]);
        assert_eq!(rates.map(|rate| rate.weight_decay), [0.0, 0.0, 0.05, 0.05]);
        let order: Vec<&str> = groups.groups().iter().map(|group| group.name.as_str()).collect();
        assert_eq!(order, ["layer_12_decay", "layer_13_decay", "prompts", "lora"]);
    }

    #[test]
    fn groups_hold_what_learns_alike() {
        let frozen = ParameterInfo {
            trainable: false,
            ..parameter("input_adapters.rgb.pos_emb", &[1, 8, 2, 2])
        };
        let rules =
            GroupRules { full_rate: vec!["encoder.0.attn.proj.weight".to_owned()], ..rules(0.75) };
        let groups = ParameterGroups::new(
            &rules,
            &[
                parameter("global_tokens", &[1, 1, 8]),
                frozen,
                parameter("output_adapters.semseg.cls_emb", &[1, 4, 8]),
                parameter("encoder.0.norm1.weight", &[8]),
                parameter("encoder.0.attn.qkv.weight", &[24, 8]),
                parameter("encoder.0.attn.proj.weight", &[8, 8]),
                parameter("output_adapters.semseg.proj.weight", &[8, 8]),
            ],
        );
        let names: Vec<(&str, usize)> =
            groups.groups().iter().map(|group| (group.name.as_str(), group.values)).collect();
        let expected = [
            ("layer_0_no_decay", 8),
            ("layer_1_decay", 192),
            ("layer_1_no_decay", 8),
            ("layer_13_decay", 128),
            ("layer_13_no_decay", 32),
        ];
        assert_eq!(names, expected);
        let full = StepRates { lr: 2.0, weight_decay: 0.05 };
        let norm = groups.rate("encoder.0.norm1.weight", full);
        assert!((norm.lr - 2.0 * 0.75_f64.powi(12)).abs() < 1e-12);
        assert_eq!(norm.weight_decay, 0.0);
        assert_eq!(groups.rate("encoder.0.attn.proj.weight", full), full);
    }
}
