//! A protocol on some data with some model, in words: what is printed with every score.

use std::collections::BTreeSet;

use indexmap::IndexMap;
use multimae::modality::Size;
use multimae_kernels::precision::{Precision, precision};

use super::labels::LabelSet;
use super::protocol::{Average, Caps, DepthProtocol, Images, Protocol, Scores, View};
use super::region::Region;
use crate::Result;
use multimae_infer::labels::Labels;

/// Images of the official test split of NYUv2.
const OFFICIAL_IMAGES: usize = 654;
/// Height and width of its frames.
const OFFICIAL_SIZE: (usize, usize) = (480, 640);

/// What the statement says besides the protocol.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
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
    /// What the model saw: modalities and sizes.
    pub input: String,
    /// Whether predictions are the mean with those of the mirrored image.
    pub flip: bool,
    /// Whether the data marks valid pixels.
    pub mask: bool,
    /// The model's labels.
    pub labels: Option<&'a Labels>,
    /// The label sets that were scored.
    pub label_sets: &'a [LabelSet],
}

impl Protocol {
    /// Everything that the scores depend on, by name.
    ///
    /// # Errors
    /// If a region does not fit the frames.
    pub fn statement(&self, facts: &Facts<'_>) -> Result<IndexMap<String, String>> {
        let mut lines = IndexMap::new();
        let mut line = |key: &str, value: String| {
            lines.insert(key.to_owned(), value);
        };
        line("protocol", self.name.clone());
        line("model", facts.model.to_owned());
        line("data", facts.data());
        line("images", self.images.statement(facts));
        line("model input", facts.input.clone());
        if precision() == Precision::Bf16 {
            line("precision", "products of factors in bfloat16, sums in 32 bits".to_owned());
        }
        line("scored at", self.view.statement(facts));
        let passes = if facts.flip {
            "two passes: mean of values and logits with those of the mirrored image"
        } else {
            "one pass over the whole image"
        };
        line("prediction", passes.to_owned());
        match &self.scores {
            Scores::Depth(protocol) => depth_lines(protocol, facts, &mut line)?,
            Scores::Semseg(_) => semseg_lines(facts, &mut line),
        }
        if let Some(warning) = self.comparison(facts) {
            line("comparison", warning);
        }
        Ok(lines)
    }

    /// What keeps the scores from being compared with published ones.
    fn comparison(&self, facts: &Facts<'_>) -> Option<String> {
        let native = facts.sizes.iter().any(|&size| size != OFFICIAL_SIZE);
        let differs = match self.view {
            View::Native => native || facts.images != OFFICIAL_IMAGES,
            _ => facts.of_images != OFFICIAL_IMAGES,
        };
        let nyu = self.name.starts_with("nyuv2") || self.name.starts_with("reference");
        (nyu && differs).then(|| {
            format!(
                "not with published NYUv2 scores, which are on the official {OFFICIAL_IMAGES} test \
                 images at {}x{}",
                OFFICIAL_SIZE.0, OFFICIAL_SIZE.1
            )
        })
    }
}

impl Facts<'_> {
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

impl Images {
    fn statement(self, facts: &Facts<'_>) -> String {
        match self {
            Self::All => format!("all {}", facts.images),
            Self::Permuted { .. } => format!(
                "{} of {}, in the order of NumPy's permutation with seed 0 of the sorted names",
                facts.images, facts.of_images
            ),
        }
    }
}

impl View {
    fn statement(self, facts: &Facts<'_>) -> String {
        let sizes = facts.sizes();
        match self {
            Self::Native => format!(
                "the target's own size, {sizes}; predictions brought there bilinearly (labels: \
                 logits, then the largest)"
            ),
            Self::CentralSquare { side } => format!(
                "{sizes}: shorter side brought to {side} (RGB linearly, the rest to the nearest \
                 pixel), central square"
            ),
            Self::PaddedSquare { side } => format!(
                "{sizes}: longer side brought to {side} (RGB linearly, the rest to the nearest \
                 pixel); padding to a square is seen and not scored"
            ),
        }
    }
}

fn depth_lines(
    protocol: &DepthProtocol,
    facts: &Facts<'_>,
    line: &mut impl FnMut(&str, String),
) -> Result<()> {
    let mask = if facts.mask { "mask_valid is 255, and " } else { "" };
    line("valid pixels", format!("{mask}{}", caps(protocol.caps)));
    for region in &protocol.regions {
        line(region.name(), region_statement(*region, facts)?);
    }
    for average in &protocol.averages {
        let statement = match average {
            Average::Pixels => "all valid pixels of the set together".to_owned(),
            Average::Images => "mean of the images' scores, all images alike".to_owned(),
            Average::Batches(size) => format!(
                "mean of the scores of batches of {size} images in order, all batches alike; \
                 depends on the batch size"
            ),
        };
        line(&format!("mean over {}", average.name()), statement);
    }
    let log10 = if protocol.published_log10 {
        "log10 (sic) is what the published code calls so: the root mean squared difference of \
         natural logarithms"
    } else {
        "RMSE log of natural logarithms; log10 the mean of |log10 p - log10 t|"
    };
    line("scores", format!("lengths in metres; {log10}; deltaN: max(p/t, t/p) < 1.25^N"));
    Ok(())
}

fn caps(caps: Option<Caps>) -> String {
    match caps {
        None => "a depth is stored; no bounds but those of the model's own predictions".to_owned(),
        Some(Caps { min, max: None }) => {
            format!("depth above {min} m; predictions raised to at least that")
        }
        Some(Caps { min, max: Some(max) }) => {
            format!("{min} m < depth < {max} m; predictions clamped to these bounds")
        }
    }
}

fn region_statement(region: Region, facts: &Facts<'_>) -> Result<String> {
    let first = facts.sizes.first().map(|&(height, width)| Size::new(height, width));
    Ok(match (region, first) {
        (Region::FullFrame, _) => {
            "all of what is scored, also a white border of the images".to_owned()
        }
        (Region::EigenCrop, Some(size)) if facts.sizes.len() == 1 => {
            let (rows, columns) = region.of(size)?;
            format!(
                "rows {rows:?}, columns {columns:?} of {}x{} (45..471, 41..601 of 480x640), from 0, \
                 end excluded",
                size.height, size.width
            )
        }
        (Region::EigenCrop, _) => {
            "rows 45..471, columns 41..601 of 480x640, from 0, end excluded; scaled with the frame"
                .to_owned()
        }
    })
}

fn semseg_lines(facts: &Facts<'_>, line: &mut impl FnMut(&str, String)) {
    line("valid pixels", "those whose label is not void".to_owned());
    for set in facts.label_sets {
        line(set.name(), facts.labels.map_or_else(String::new, |labels| set.statement(labels)));
    }
    line(
        "scores",
        "from the confusion matrix of the whole set; IoU = I / (P + L - I); classes that neither \
         predictions nor labels have do not count"
            .to_owned(),
    );
}

#[cfg(test)]
mod tests {
    use multimae_report::Palette;

    use super::*;

    #[test]
    fn a_statement_says_everything_that_the_scores_depend_on() {
        let labels = Labels { palette: Palette::nyu40(), ignore: Some(0), offset: 0 };
        let sizes = [(240, 320)].into();
        let facts = Facts {
            model: "m.safetensors",
            data: "rooms",
            split: Some("val"),
            images: 40,
            of_images: 40,
            sizes: &sizes,
            input: "rgb at 96x128".to_owned(),
            flip: true,
            mask: true,
            labels: Some(&labels),
            label_sets: &[LabelSet::Nyu40, LabelSet::Nyu13],
        };
        let depth = Protocol::nyuv2_depth().statement(&facts).unwrap();
        assert!(depth["data"].contains("split `val`"));
        assert!(depth["Eigen crop"].contains("rows 22..235, columns 20..300 of 240x320"));
        assert!(depth["valid pixels"].contains("mask_valid is 255, and 0.001 m < depth < 10 m"));
        assert!(depth["prediction"].contains("mirrored"));
        assert!(depth["comparison"].contains("654"));
        let semseg = Protocol::nyuv2_semseg().statement(&facts).unwrap();
        assert!(semseg["NYUv2-13"].contains("mapped from 40 to 13"));
        let published = Protocol::reference_depth().statement(&facts).unwrap();
        assert!(published["images"].contains("40 of 40") && published["scores"].contains("sic"));
        // Nothing keeps own protocols, and the official set, from being compared.
        assert!(Protocol::depth().statement(&facts).unwrap().get("comparison").is_none());
        let official = [(480, 640)].into();
        let facts = Facts { images: 654, of_images: 654, sizes: &official, ..facts };
        let depth = Protocol::nyuv2_depth().statement(&facts).unwrap();
        assert!(depth.get("comparison").is_none());
        assert!(depth["Eigen crop"].contains("rows 45..471, columns 41..601 of 480x640"));
    }
}
