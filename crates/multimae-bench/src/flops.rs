//! Operations of the products in a case's work: what a perfect program could not avoid.
//!
//! A product of `(m, k)` by `(k, n)` counts `2 m k n`. Norms, activations, softmax, resizing and the
//! optimiser count nothing, so a share of the limit is a lower bound
//! where no fewer products than these are computed (Winograd does).

use crate::case::{BenchmarkCase, BenchmarkKind, Heads};

/// Patches of an image.
fn patches(case: &BenchmarkCase) -> f64 {
    ((case.image[0] / case.patch) * (case.image[1] / case.patch)) as f64
}

/// Forward pass of a block of dimension `d` over `n` tokens: qkv and projection, scores and values,
/// both layers of the MLP.
fn block(n: f64, d: f64) -> f64 {
    2.0 * n * d * d * 4.0 + 4.0 * n * n * d + 2.0 * n * d * (4.0 * d) * 2.0
}

/// Operations of one step; `None` where the work is no arithmetic.
#[must_use]
pub fn of(case: &BenchmarkCase) -> Option<f64> {
    let forward = |part: Option<f64>| part.map(|part| part * case.batch as f64);
    match case.kind {
        // Backward passes are two products for each of the forward pass.
        BenchmarkKind::Pretrain => Some(3.0 * forward(pretrain(case))?),
        BenchmarkKind::Joint => Some(3.0 * forward(Some(encoder(case, 0.0) + heads(case)?))?),
        // A frozen encoder needs no gradient of its weights, but those of prompts pass it.
        BenchmarkKind::Prompts => {
            let prompts = case.prompt_length.unwrap_or(0) as f64;
            forward(Some(2.0 * encoder(case, prompts) + 3.0 * heads(case)?))
        }
        BenchmarkKind::Inference => forward(Some(encoder(case, 0.0) + heads(case)?)),
        BenchmarkKind::Heads => Some(3.0 * forward(heads(case))?),
        BenchmarkKind::Loading | BenchmarkKind::Startup => None,
    }
}

/// The encoder on all tokens of its inputs, embedding included.
fn encoder(case: &BenchmarkCase, prompts: f64) -> f64 {
    let (n, d) = (patches(case), case.sizes.dim as f64);
    let area = (case.patch * case.patch) as f64;
    let tokens = n * case.in_domains.len() as f64 + case.global_tokens as f64 + prompts;
    2.0 * n * area * 3.0 * d + case.sizes.depth as f64 * block(tokens, d)
}

fn pretrain(case: &BenchmarkCase) -> Option<f64> {
    let decoders = case.decoders?;
    let (n, d, w) = (patches(case), case.sizes.dim as f64, decoders.dec_dim as f64);
    let area = (case.patch * case.patch) as f64;
    let side = case.patch as f64 / crate::models::LABEL_STRIDE as f64;
    let labels = side * side;
    // All patches are embedded, some are encoded.
    let embedded = 2.0 * n * d * (area * 3.0 + area + labels * case.dim_class_emb as f64);
    let visible = (decoders.keep + case.global_tokens) as f64;
    let encoder = case.sizes.depth as f64 * block(visible, d);
    let outputs = [area * 3.0, area, labels * case.classes as f64, area * 3.0];
    let decoder = |values: f64| {
        // Tokens of all modalities are brought to the decoder's width and serve as its context.
        let context = 2.0 * visible * d * w;
        let cross = 2.0 * (2.0 * n + 2.0 * visible) * w * w + 4.0 * n * visible * w;
        let mlp = 2.0 * n * w * 4.0 * w * 2.0;
        let blocks = decoders.dec_depth as f64 * block(n, w);
        context + cross + mlp + blocks + 2.0 * n * w * values
    };
    Some(embedded + encoder + outputs.map(decoder).iter().sum::<f64>())
}

fn heads(case: &BenchmarkCase) -> Option<f64> {
    let heads = case.task_heads?;
    Some(dpt(case, heads) + convnext(case, heads))
}

/// A convolution with `k x k` kernels over `n` pixels.
fn conv(n: f64, k: f64, inputs: usize, outputs: usize) -> f64 {
    2.0 * n * k * k * (inputs * outputs) as f64
}

fn dpt(case: &BenchmarkCase, heads: Heads) -> f64 {
    let n = patches(case);
    let channels = case.sizes.dim * case.in_domains.len();
    // Maps at 4, 2, 1 and 1/2 of the grid's side.
    let pixels = [16.0, 4.0, 1.0, 0.25].map(|scale| scale * n);
    let f = heads.feature_dim;
    let [a, b, c, d] = heads.layer_dims;
    let brought: f64 = heads.layer_dims.iter().map(|&dim| conv(n, 1.0, channels, dim)).sum();
    // Transposed convolutions by 4 and 2 do one product per output pixel.
    let moved =
        conv(pixels[0], 1.0, a, a) + conv(pixels[1], 1.0, b, b) + conv(pixels[3], 3.0, d, d);
    let narrowed: f64 = [a, b, c, d].iter().zip(pixels).map(|(&dim, n)| conv(n, 3.0, dim, f)).sum();
    // Two residual units of two convolutions each, one unit alone where nothing comes from below,
    // and a 1x1 behind the doubled map.
    let fused: f64 = pixels
        .iter()
        .enumerate()
        .map(|(index, &n)| {
            let units = if index == 3 { 1.0 } else { 2.0 };
            units * 2.0 * conv(n, 3.0, f, f) + conv(4.0 * n, 1.0, f, f)
        })
        .sum();
    // Half the channels at half the image's side, then 32 at the whole one.
    let whole = (case.image[0] * case.image[1]) as f64;
    let last =
        conv(64.0 * n, 3.0, f, f / 2) + conv(whole, 3.0, f / 2, 32) + conv(whole, 1.0, 32, 1);
    brought + moved + narrowed + fused + last
}

fn convnext(case: &BenchmarkCase, heads: Heads) -> f64 {
    let n = patches(case);
    let channels = case.sizes.dim * case.in_domains.len();
    let pixels = n * heads.preds_per_patch as f64;
    let c = heads.head_dim / heads.preds_per_patch;
    let block = 2.0 * pixels * 49.0 * c as f64 + 2.0 * conv(pixels, 1.0, c, 4 * c);
    conv(n, 1.0, channels, heads.head_dim)
        + heads.head_depth as f64 * block
        + conv(pixels, 1.0, c, heads.num_classes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::EncoderSizes;

    #[test]
    fn a_base_encoder_is_the_known_number() {
        // ViT-Base at 224 is 17.6 GMACs in the literature, 35.1 GFLOPs by this count.
        let case = BenchmarkCase::with_heads("a", BenchmarkKind::Inference, EncoderSizes::BASE, 1);
        let flops = encoder(&case, 0.0);
        assert!((flops / 35.1e9 - 1.0).abs() < 0.01, "{flops}");
    }

    #[test]
    fn work_grows_with_the_batch_and_training_is_three_passes() {
        let of = |work, batch| {
            of(&BenchmarkCase::with_heads("a", work, EncoderSizes::BASE, batch)).unwrap()
        };
        assert_eq!(of(BenchmarkKind::Inference, 4), 4.0 * of(BenchmarkKind::Inference, 1));
        assert_eq!(of(BenchmarkKind::Joint, 2), 3.0 * of(BenchmarkKind::Inference, 2));
        assert!(of(BenchmarkKind::Prompts, 2) < of(BenchmarkKind::Joint, 2));
        assert!(super::of(&BenchmarkCase::pretrain("a", EncoderSizes::SMALL, 1)).unwrap() > 1e9);
    }
}
