//! The rows that the layers of a model multiply.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use indexmap::IndexMap;
use multimae::burn::module::Module;
use multimae::burn::tensor::Tensor;
use multimae::state::places;
use multimae::weights::is_quantised;
use multimae_kernels::observe;
use multimae_kernels::prepared::Place;

use crate::Result;

/// Rows of a layer that are kept of a pass, evenly spaced, and of all passes.
const ROWS_OF_PASS: usize = 64;
const ROWS: usize = 1024;

/// Rows that a layer multiplies.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LayerInput {
    /// The width of a row.
    pub width: usize,
    /// Some rows, one behind the other.
    pub rows: Vec<f32>,
    /// The largest absolute value of every channel, of all rows.
    pub largest: Vec<f32>,
}

/// The inputs of layers, by the names of their weights, in the order in which they compute.
#[derive(Debug)]
pub struct Calibration {
    names: HashMap<Place, String>,
    seen: Rc<RefCell<IndexMap<String, LayerInput>>>,
}

impl Calibration {
    /// Of the linear layers of a model that are to be quantised.
    #[must_use]
    pub fn of(module: &impl Module) -> Self {
        let wanted = |(_, (name, shape)): &(Place, (String, Vec<usize>))| is_quantised(name, shape);
        let names = places(module).into_iter().filter(wanted);
        let names = names.map(|(place, (name, _))| (place, name)).collect();
        Self { names, seen: Rc::default() }
    }

    /// Whether nothing was recorded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.seen.borrow().is_empty()
    }

    /// The input of a layer.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<LayerInput> {
        self.seen.borrow().get(name).cloned()
    }

    /// The names of all layers that computed.
    #[must_use]
    pub fn layers(&self) -> Vec<String> {
        self.seen.borrow().keys().cloned().collect()
    }

    /// Records what the layers multiply during `work`.
    ///
    /// # Errors
    /// Those of `work`.
    pub fn record(&self, work: impl FnOnce() -> Result<()>) -> Result<()> {
        let (names, seen) = (self.names.clone(), Rc::clone(&self.seen));
        let observer = Rc::new(move |weight: &Tensor<2>, rows: Tensor<2>| {
            let Some(name) = Place::of(weight).and_then(|place| names.get(&place)) else { return };
            let [count, width] = rows.dims();
            let values: Vec<f32> = rows.into_data().iter::<f32>().collect();
            let mut seen = seen.borrow_mut();
            seen.entry(name.clone()).or_default().add(&values, (count, width));
        });
        observe::scope(observer, work)
    }
}

impl LayerInput {
    fn add(&mut self, values: &[f32], (count, width): (usize, usize)) {
        self.width = width;
        self.largest.resize(width, 0.0);
        for row in values.chunks_exact(width.max(1)) {
            for (largest, value) in self.largest.iter_mut().zip(row) {
                *largest = largest.max(value.abs());
            }
        }
        let room = ROWS.saturating_sub(self.rows.len() / width.max(1)).min(ROWS_OF_PASS);
        for index in 0..room.min(count) {
            let row = index * count / room.min(count);
            self.rows.extend_from_slice(&values[row * width..][..width]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_spread_over_a_frame_and_bounded() {
        let mut input = LayerInput::default();
        let frame: Vec<f32> = (0..200).flat_map(|row| [row as f32, -2.0 * row as f32]).collect();
        input.add(&frame, (200, 2));
        assert_eq!((input.width, input.rows.len()), (2, 2 * ROWS_OF_PASS));
        assert_eq!(input.largest, [199.0, 398.0]);
        assert!(input.rows[input.rows.len() - 2] > 190.0);
        for _ in 0..40 {
            input.add(&frame[..4], (2, 2));
        }
        assert_eq!(input.rows.len(), 2 * (ROWS_OF_PASS + 80));
        for _ in 0..40 {
            input.add(&frame, (200, 2));
        }
        assert_eq!(input.rows.len(), 2 * ROWS);
    }
}
