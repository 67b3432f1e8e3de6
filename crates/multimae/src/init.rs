//! First values of the parameters, as the published code chooses them.
//!
//! The rules go by the name and the shape of a parameter. Every parameter has a random stream of
//! its own, named after it, so that adding a decoder does not change the rest of the model.

use burn::module::Module;
use burn::tensor::{Tensor, TensorData};
use indexmap::IndexMap;
use rand::{Rng, RngExt};
use rand_distr::{Distribution, StandardNormal};

use crate::state::{parameters, update};

/// Standard deviation of the truncated normal of tokens and embeddings.
const TOKEN_STD: f64 = 0.02;

/// The distribution of a parameter's initial values.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Rule {
    /// The same value everywhere.
    Constant(f32),
    /// Uniform in `±bound`.
    Uniform(f64),
    /// Normal with [`TOKEN_STD`], cut at ±2.
    Token,
    /// As built.
    Keep,
}

/// Draws all parameters; `stream` gives the random numbers for a parameter's name.
///
/// Linear weights are Xavier-uniform (fused q, k and v as separate matrices), patch embeddings
/// Xavier-uniform as linear maps, other convolutions Kaiming-uniform with `a = sqrt(5)`; biases are
/// zero, those of convolutions uniform in `±1/sqrt(fan in)`; LayerNorms start as the identity;
/// tokens and embeddings are truncated normal with deviation 0.02, mask tokens zero; position
/// tables stay. PEFT modules start without effect.
#[must_use]
pub fn initialise<M: Module, R: Rng>(module: M, mut stream: impl FnMut(&str) -> R) -> M {
    let shapes: IndexMap<String, Vec<usize>> =
        parameters(&module).into_iter().map(|p| (p.name, p.shape)).collect();
    update(module, |name, current| {
        let rule = rule(name, &shapes[name], weight_shape(name, &shapes));
        let len = current.shape().num_elements();
        let values = draw(rule, len, &mut stream(name))?;
        Some(Tensor::from_data(TensorData::new(values, [len]), &current.device()))
    })
}

/// The shape of the weight beside a bias.
fn weight_shape<'a>(name: &str, shapes: &'a IndexMap<String, Vec<usize>>) -> Option<&'a [usize]> {
    let module = name.strip_suffix(".bias")?;
    shapes.get(&format!("{module}.weight")).map(Vec::as_slice)
}

fn rule(name: &str, shape: &[usize], weight: Option<&[usize]>) -> Rule {
    let leaf = name.rsplit('.').next().unwrap_or(name);
    match (leaf, shape) {
        ("pos_emb", _) => Rule::Keep,
        ("mask_token" | "shift", _) => Rule::Constant(0.0),
        ("scale", _) => Rule::Constant(1.0),
        // Low-rank adaptation begins as no change (Hu et al., 2022).
        ("a", [_, inputs]) => Rule::Uniform((*inputs as f64).powf(-0.5)),
        ("b", [_, _]) => Rule::Constant(0.0),
        _ if name.ends_with("class_emb.weight") => Rule::Token,
        // A side network begins without effect.
        ("weight", [_, _]) if name.starts_with("side.") && name.ends_with(".up.weight") => {
            Rule::Constant(0.0)
        }
        ("weight", [_]) => Rule::Constant(1.0),
        ("weight", [outputs, inputs]) => {
            let matrices = if name.contains("qkv") {
                3
            } else if name.contains("kv") {
                2
            } else {
                1
            };
            xavier(*outputs / matrices, *inputs)
        }
        ("weight", [outputs, inputs, height, width]) => {
            let fan_in = inputs * height * width;
            if name.contains(".proj") {
                xavier(*outputs, fan_in)
            } else {
                Rule::Uniform((fan_in as f64).powf(-0.5))
            }
        }
        ("bias", _) => match weight {
            Some([_, rest @ ..]) if rest.len() == 3 => {
                Rule::Uniform((rest.iter().product::<usize>() as f64).powf(-0.5))
            }
            _ => Rule::Constant(0.0),
        },
        // Global tokens, task embeddings, class tokens.
        _ => Rule::Token,
    }
}

/// Glorot and Bengio, 2010.
fn xavier(outputs: usize, inputs: usize) -> Rule {
    Rule::Uniform((6.0 / (outputs + inputs) as f64).sqrt())
}

fn draw(rule: Rule, len: usize, rng: &mut impl Rng) -> Option<Vec<f32>> {
    let values = match rule {
        Rule::Keep => return None,
        Rule::Constant(value) => vec![value; len],
        Rule::Uniform(bound) => {
            (0..len).map(|_| ((rng.random::<f64>() * 2.0 - 1.0) * bound) as f32).collect()
        }
        Rule::Token => (0..len).map(|_| truncated_normal(rng) as f32).collect(),
    };
    Some(values)
}

fn truncated_normal(rng: &mut impl Rng) -> f64 {
    loop {
        let normal: f64 = StandardNormal.sample(rng);
        let value = normal * TOKEN_STD;
        if value.abs() <= 2.0 {
            return value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_go_by_name_and_shape() {
        let rule = |name, shape: &[usize]| rule(name, shape, None);
        assert_eq!(rule("encoder.0.norm1.weight", &[8]), Rule::Constant(1.0));
        assert_eq!(
            rule("encoder.0.attn.qkv.weight", &[768 * 3, 768]),
            Rule::Uniform((6.0_f64 / (768.0 * 2.0)).sqrt())
        );
        assert_eq!(
            rule("output_adapters.rgb.decoder.kv.weight", &[512, 256]),
            Rule::Uniform((6.0_f64 / 512.0).sqrt())
        );
        assert_eq!(
            rule("input_adapters.rgb.proj.weight", &[768, 3, 16, 16]),
            Rule::Uniform((6.0_f64 / 1536.0).sqrt())
        );
        assert_eq!(rule("output_adapters.rgb.mask_token", &[1, 1, 8]), Rule::Constant(0.0));
        assert_eq!(rule("output_adapters.rgb.task_embeddings.rgb", &[1, 1, 8]), Rule::Token);
        assert_eq!(rule("input_adapters.semseg.class_emb.weight", &[133, 64]), Rule::Token);
        assert_eq!(rule("input_adapters.rgb.pos_emb", &[1, 8, 2, 2]), Rule::Keep);
        assert_eq!(
            super::rule("input_adapters.rgb.proj.bias", &[768], Some(&[768, 3, 16, 16])),
            Rule::Uniform(768.0_f64.powf(-0.5))
        );
        assert_eq!(super::rule("encoder.0.mlp.fc1.bias", &[8], Some(&[8, 2])), Rule::Constant(0.0));
    }
}
