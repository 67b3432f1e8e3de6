//! The split of the frames into training and validation.

use std::path::Path;

use rand::Rng;

use super::SynthOptions;
use super::files::{name, write_atomically};
use crate::Result;
use crate::draw::stream;

/// Writes `train.txt` and `val.txt`: the names of the frames, in order, one per line.
pub(super) fn write_lists(dir: &Path, options: &SynthOptions) -> Result<()> {
    let val = validation(options);
    for (file, wanted) in [("train.txt", false), ("val.txt", true)] {
        let names = (0..options.count).filter(|&index| val[index] == wanted);
        let text: String = names.map(|index| format!("{}\n", name(index))).collect();
        write_atomically(&dir.join(file), text.as_bytes())?;
    }
    Ok(())
}

/// Whether each frame is for validation: the frames with the smallest random numbers.
fn validation(options: &SynthOptions) -> Vec<bool> {
    let number = |index: usize| stream(options.seed, "split", index as u64).next_u64();
    let mut order: Vec<(u64, usize)> = (0..options.count).map(|i| (number(i), i)).collect();
    order.sort_unstable();
    let wanted = (options.count as f64 * options.val_share).round() as usize;
    let mut val = vec![false; options.count];
    for &(_, index) in order.iter().take(wanted) {
        val[index] = true;
    }
    val
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_exact() {
        let of = |count, val_share, seed| {
            validation(&SynthOptions { count, seed, size: (8, 8), val_share, threads: 1 })
        };
        let size = |val: &[bool]| val.iter().filter(|&&v| v).count();
        assert_eq!(size(&of(40, 0.1, 3)), 4);
        assert_eq!(size(&of(40, 0.0, 3)), 0);
        assert_eq!(size(&of(40, 1.0, 3)), 40);
        assert_ne!(of(40, 0.5, 3), of(40, 0.5, 4));
    }
}
