//! The ladder beside the encoder; see [`multimae::peft::SideNetwork`].

use multimae::modality::Size;
use multimae::peft::SideNetwork;

use super::graph::{Graph, Value};
use super::ops::Convolution;
use crate::{Error, Result};

/// The name of its parameters.
const RUNGS: &str = "side.rungs";

impl Graph<'_> {
    /// The changes of the patches that heads read, with their blocks, from the outputs that all blocks have without
    /// prompts. Each modality's patches are a map of `grid`.
    pub(super) fn side(
        &mut self,
        side: &SideNetwork,
        layers: &[Value],
        (modalities, grid): (usize, Size),
    ) -> Result<Vec<(usize, Value)>> {
        let mut by_block: Vec<(usize, Vec<Value>)> = Vec::new();
        for modality in 0..modalities {
            let of_modality = self.ladder(side, layers, (modality, grid))?;
            if by_block.is_empty() {
                by_block.extend(of_modality.iter().map(|(block, _)| (*block, Vec::new())));
            }
            for ((_, parts), (_, change)) in by_block.iter_mut().zip(of_modality) {
                parts.push(change);
            }
        }
        Ok(by_block.into_iter().map(|(block, parts)| (block, self.concat(&parts, 1))).collect())
    }

    fn ladder(
        &mut self,
        side: &SideNetwork,
        layers: &[Value],
        (modality, grid): (usize, Size),
    ) -> Result<Vec<(usize, Value)>> {
        let area = grid.area();
        let mut state: Option<Value> = None;
        let mut changes = Vec::new();
        for (index, &block) in side.blocks().iter().enumerate() {
            let name = format!("{RUNGS}.{index}");
            self.at(&name);
            let layer = layers.get(block).ok_or_else(|| {
                Error::Request(format!("`{name}` reads block {block}, which there is not"))
            })?;
            let tokens = self.slice(layer, 1, modality * area, area)?;
            let tokens = self.layer_norm(&format!("{name}.norm"), &tokens)?;
            let own = self.linear(&format!("{name}.down"), &tokens)?;
            let sum = match &state {
                Some(state) => self.add(state, &own),
                None => own,
            };
            let maps = self.tokens_to_maps(&sum, grid)?;
            let sizes = Convolution { groups: maps.extent(1), ..Convolution::same(3) };
            let mixed = self.conv(&format!("{name}.depthwise"), &maps, sizes)?;
            let mixed = self.gelu(&mixed)?;
            let mixed = self.maps_to_tokens(&mixed)?;
            let mixed = self.linear(&format!("{name}.pointwise"), &mixed)?;
            let next = self.add(&sum, &mixed);
            let up = format!("{name}.up");
            if self.has(&format!("{up}.weight")) {
                changes.push((block, self.linear(&up, &next)?));
            }
            state = Some(next);
        }
        Ok(changes)
    }
}
