//! One process.

use crate::{Group, Result, Wire};

/// One process that trains by itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct Alone;

impl Group for Alone {
    fn rank(&self) -> usize {
        0
    }

    fn size(&self) -> usize {
        1
    }

    fn exchange(&self, own: &[u8]) -> Result<Vec<Vec<u8>>> {
        Ok(vec![own.to_vec()])
    }

    fn broadcast(&self, bytes: Vec<u8>) -> Result<Vec<u8>> {
        Ok(bytes)
    }

    fn sum(&self, _values: &mut [f32], _wire: Wire) -> Result<()> {
        Ok(())
    }

    fn await_first(&self) -> Result<()> {
        Ok(())
    }
}
