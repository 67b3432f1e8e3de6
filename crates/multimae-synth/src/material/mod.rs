//! The materials of surfaces.

mod noise;
mod texture;

pub(crate) use texture::{Patch, Texture};

use crate::labels::Label;
use crate::vec3::Vec3;

/// The appearance of a surface. Colours are linear RGB.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Material {
    pub(crate) texture: Texture,
    /// The main colour.
    pub(crate) base: Vec3,
    /// The other colour, for textures that have one: joints, stripes, pattern.
    pub(crate) second: Vec3,
    /// Strength of the highlight, 0 to 1.
    pub(crate) gloss: f32,
    /// Light that it gives off, in units of its own colour. Such things cast no shadow: they are
    /// the lamps that the light comes from.
    pub(crate) emission: f32,
}

impl Material {
    fn new(texture: Texture, base: Vec3, second: Vec3, gloss: f32) -> Self {
        Self { texture, base, second, gloss, emission: 0.0 }
    }

    /// Painted or lacquered, nearly without structure.
    pub(crate) fn paint(colour: Vec3) -> Self {
        Self::new(Texture::Mottled { scale: 3.0, amount: 0.08 }, colour, colour, 0.08)
    }

    /// Wood with its grain along the part.
    pub(crate) fn wood(colour: Vec3) -> Self {
        Self::new(Texture::Wood, colour, colour * 0.6, 0.15)
    }

    /// Woven cloth.
    pub(crate) fn cloth(colour: Vec3) -> Self {
        Self::new(Texture::Weave { period: 0.012 }, colour, colour * 0.75, 0.0)
    }

    /// Cloth with a texture of two colours.
    pub(crate) fn printed(texture: Texture, base: Vec3, second: Vec3) -> Self {
        Self::new(texture, base, second, 0.0)
    }

    /// Bare or chromed metal.
    pub(crate) fn metal(colour: Vec3) -> Self {
        Self::new(Texture::Mottled { scale: 1.5, amount: 0.1 }, colour, colour, 0.7)
    }

    /// Stone, tiles, planks: hard things with a texture.
    pub(crate) fn hard(texture: Texture, base: Vec3, second: Vec3, gloss: f32) -> Self {
        Self::new(texture, base, second, gloss)
    }

    /// Gives off light.
    pub(crate) fn glowing(texture: Texture, base: Vec3, second: Vec3, emission: f32) -> Self {
        Self { emission, ..Self::new(texture, base, second, 0.0) }
    }

    /// Whether it is a source of light.
    pub(crate) fn shines(&self) -> bool {
        self.emission > 0.0
    }

    /// The surface of a thing of this class.
    pub(crate) fn on(self, label: Label) -> Surface {
        Surface { label, material: self }
    }

    /// The colour at a place.
    pub(crate) fn colour(&self, patch: &Patch) -> Vec3 {
        self.texture.colour(self.base, self.second, patch)
    }
}

/// A material, and what kind of thing is made of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Surface {
    pub(crate) label: Label,
    pub(crate) material: Material,
}
