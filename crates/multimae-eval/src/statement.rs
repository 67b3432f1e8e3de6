//! A protocol on some data with some model, in words: what is printed with every score.

use std::collections::BTreeSet;

use indexmap::IndexMap;
use multimae_kernels::precision::Precision;

use multimae_tasks::{EvaluationView, Images, Protocol};

/// Images of the official test split of NYUv2.
const OFFICIAL_IMAGES: usize = 654;
/// Height and width of its frames.
const OFFICIAL_SIZE: (usize, usize) = (480, 640);

/// The facts of a statement besides the protocol.
#[derive(Debug, Clone)]
pub struct ProtocolFacts<'a> {
    /// The model's file.
    pub model: &'a str,
    /// The data's folder.
    pub data: &'a str,
    /// The list of the split, if there is one.
    pub split: Option<&'a str>,
    /// Images that were scored.
    pub images: usize,
    /// Images of the split.
    pub of_images: usize,
    /// Heights and widths at which they were scored.
    pub sizes: &'a BTreeSet<(usize, usize)>,
    /// The model's inputs: modalities and sizes.
    pub input: String,
    /// The precision of the model's GEMMs.
    pub precision: Precision,
    /// Whether predictions are the mean with those of the mirrored image.
    pub flip: bool,
    /// The conversion of stored annotations, if they are numbers.
    pub stored: Option<String>,
    /// The rules of the scorer on this data, by name.
    pub rules: Vec<(String, String)>,
}

/// Everything that the scores of a protocol depend on, by name.
#[must_use]
pub(crate) fn statement(
    protocol: &Protocol,
    facts: &ProtocolFacts<'_>,
) -> IndexMap<String, String> {
    let mut lines = IndexMap::new();
    let mut line = |key: &str, value: String| {
        lines.insert(key.to_owned(), value);
    };
    line("protocol", protocol.name.clone());
    line("model", facts.model.to_owned());
    line("data", facts.data());
    if let Some(stored) = &facts.stored {
        line("ground truth", stored.clone());
    }
    line("images", images(protocol.images, facts));
    line("model input", facts.input.clone());
    match facts.precision {
        Precision::Fp32 => {}
        Precision::Bf16 => {
            line("precision", "GEMMs with operands in bfloat16, sums in fp32".to_owned());
        }
        Precision::Int8 => line(
            "precision",
            "linear layers and 3x3 convolutions in whole numbers of 8 bits, all else in fp32"
                .to_owned(),
        ),
    }
    line("scored at", view(protocol.view, facts));
    let passes = if facts.flip {
        "two passes: mean of values and logits with those of the mirrored image"
    } else {
        "one pass over the whole image"
    };
    line("prediction", passes.to_owned());
    for (key, value) in &facts.rules {
        line(key, value.clone());
    }
    if let Some(warning) = comparison(protocol, facts) {
        line("comparison", warning);
    }
    lines
}

/// The reason why the scores cannot be compared with published ones, if there is one.
fn comparison(protocol: &Protocol, facts: &ProtocolFacts<'_>) -> Option<String> {
    let native = facts.sizes.iter().any(|&size| size != OFFICIAL_SIZE);
    let differs = match protocol.view {
        EvaluationView::Native => native || facts.images != OFFICIAL_IMAGES,
        _ => facts.of_images != OFFICIAL_IMAGES,
    };
    let nyu = protocol.name.starts_with("nyuv2") || protocol.name.starts_with("reference");
    (nyu && differs).then(|| {
        format!(
            "not with published NYUv2 scores, which are on the official {OFFICIAL_IMAGES} test \
             images at {}x{}",
            OFFICIAL_SIZE.0, OFFICIAL_SIZE.1
        )
    })
}

impl ProtocolFacts<'_> {
    fn data(&self) -> String {
        match self.split {
            Some(split) => format!("{}, split `{split}`", self.data),
            None => format!("{}, all files", self.data),
        }
    }

    fn sizes(&self) -> String {
        match (self.sizes.first(), self.sizes.len()) {
            (Some((height, width)), 1) => format!("{height}x{width} (rows x columns)"),
            (_, n) => format!("{n} different sizes"),
        }
    }
}

fn images(images: Images, facts: &ProtocolFacts<'_>) -> String {
    match images {
        Images::All => format!("all {}", facts.images),
        Images::Permuted { .. } => format!(
            "{} of {}, in the order of NumPy's permutation with seed 0 of the sorted names",
            facts.images, facts.of_images
        ),
    }
}

fn view(view: EvaluationView, facts: &ProtocolFacts<'_>) -> String {
    let sizes = facts.sizes();
    match view {
        EvaluationView::Native => format!(
            "the target's own size, {sizes}; predictions brought there bilinearly (labels: \
                 logits, then the largest)"
        ),
        EvaluationView::CentralSquare { side } => format!(
            "{sizes}: shorter side brought to {side} (RGB linearly, the rest to the nearest \
                 pixel), central square"
        ),
        EvaluationView::PaddedSquare { side } => format!(
            "{sizes}: longer side brought to {side} (RGB linearly, the rest to the nearest \
                 pixel); padding to a square is seen and not scored"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Protocol {
        Protocol::named(name).unwrap().remove(0)
    }

    #[test]
    fn a_statement_says_everything_that_the_scores_depend_on() {
        let sizes = [(240, 320)].into();
        let facts = ProtocolFacts {
            model: "m.safetensors",
            data: "rooms",
            split: Some("val"),
            images: 40,
            of_images: 40,
            sizes: &sizes,
            input: "rgb at 96x128".to_owned(),
            precision: Precision::Fp32,
            flip: true,
            stored: None,
            rules: vec![("valid pixels".to_owned(), "some".to_owned())],
        };
        let depth = statement(&named("nyuv2-depth"), &facts);
        assert!(depth["data"].contains("split `val`"));
        assert_eq!(depth["valid pixels"], "some");
        assert!(depth["prediction"].contains("mirrored"));
        assert!(depth["comparison"].contains("654"));
        let published = statement(&named("reference-depth"), &facts);
        assert!(published["images"].contains("40 of 40"));
        assert!(published.get("precision").is_none());
        let bf16 =
            ProtocolFacts { precision: Precision::Bf16, input: String::new(), ..facts.clone() };
        assert!(statement(&named("reference-depth"), &bf16)["precision"].contains("bfloat16"));
        // Nothing keeps own protocols, and the official set, from being compared.
        assert!(statement(&named("depth"), &facts).get("comparison").is_none());
        let official = [(480, 640)].into();
        let facts = ProtocolFacts { images: 654, of_images: 654, sizes: &official, ..facts };
        assert!(statement(&named("nyuv2-depth"), &facts).get("comparison").is_none());
    }
}
