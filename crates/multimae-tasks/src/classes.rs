//! Colours of classes, and the most likely class.

use multimae_data::Encoding;
use multimae_report::palette::Palette;

use multimae_config::TaskModality;

/// The colours of a modality's classes.
pub fn palette(modality: &TaskModality) -> Palette {
    let Encoding::Labels { classes, ignore, .. } = modality.data.encoding else {
        return Palette::generated(0);
    };
    // Data sets count their void class as 0, or leave it out.
    let fitting = |palette: Palette| {
        if palette.len() == classes + 1 { palette.without_first() } else { palette }
    };
    match (modality.palette.as_deref(), classes, ignore) {
        (Some("nyu40"), ..) => fitting(Palette::nyu40()),
        (Some("nyu13"), ..) => fitting(Palette::nyu13()),
        (Some("coco133"), ..) | (None, 133, _) => Palette::coco133(),
        _ => Palette::generated(classes),
    }
}

/// The class with the largest logit of every pixel.
pub fn argmax(logits: &[f32], pixels: usize) -> Vec<i64> {
    (0..pixels)
        .map(|pixel| {
            let of_pixel = logits.iter().skip(pixel).step_by(pixels.max(1));
            let best = of_pixel.enumerate().max_by(|a, b| a.1.total_cmp(b.1));
            best.map_or(0, |(class, _)| class as i64)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_logit_wins() {
        assert_eq!(argmax(&[0.0, 5.0, 1.0, 2.0, 0.5, 9.0], 2), [1, 1 + 1]);
    }
}
