//! Patches of pictures: hide what the model did not see, paste what it saw.

use super::Picture;
use crate::{Error, Result};

impl Picture {
    /// Paints the masked patches in one colour. `masked` has one flag per patch of a `grid` of
    /// (rows, columns), row-major, true = masked.
    ///
    /// # Errors
    /// If flags, grid and picture do not fit.
    pub fn hide_patches(
        &mut self,
        masked: &[bool],
        grid: (usize, usize),
        color: [u8; 3],
    ) -> Result<()> {
        let (height, width) = self.patch_size(masked, grid)?;
        for (index, _) in masked.iter().enumerate().filter(|(_, masked)| **masked) {
            let corner = (index % grid.1 * width, index / grid.1 * height);
            self.fill_rectangle(corner, (height, width), color);
        }
        Ok(())
    }

    /// Pastes the visible patches, those that are not masked, from the input into a prediction.
    ///
    /// # Errors
    /// If flags, grid and pictures do not fit.
    pub fn paste_visible_patches(
        &mut self,
        input: &Self,
        masked: &[bool],
        grid: (usize, usize),
    ) -> Result<()> {
        self.check_same_size(input)?;
        let (height, width) = self.patch_size(masked, grid)?;
        for y in 0..self.height {
            for x in 0..self.width {
                if !masked[y / height * grid.1 + x / width] {
                    self.set_pixel(x, y, input.pixel(x, y));
                }
            }
        }
        Ok(())
    }

    /// Height and width of a patch in pixels.
    fn patch_size(
        &self,
        masked: &[bool],
        (rows, columns): (usize, usize),
    ) -> Result<(usize, usize)> {
        if rows == 0 || columns == 0 || masked.len() != rows * columns {
            return Err(Error::Picture(format!(
                "{} flags for {rows} x {columns} patches",
                masked.len()
            )));
        }
        if !self.height.is_multiple_of(rows) || !self.width.is_multiple_of(columns) {
            return Err(Error::Picture(format!(
                "{} x {} pixels (width x height) cannot be cut into {columns} x {rows} patches",
                self.width, self.height
            )));
        }
        Ok((self.height / rows, self.width / columns))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{BLACK, WHITE};
    use super::*;

    const MASKED: [bool; 6] = [true, false, false, false, false, true];

    #[test]
    fn exactly_the_masked_patches_are_hidden() {
        let mut picture = Picture::filled((4, 6), BLACK);
        picture.hide_patches(&MASKED, (2, 3), WHITE).unwrap();
        for y in 0..4 {
            for x in 0..6 {
                let hidden = (x < 2 && y < 2) || (x >= 4 && y >= 2);
                assert_eq!(picture.pixel(x, y), if hidden { WHITE } else { BLACK });
            }
        }
    }

    #[test]
    fn exactly_the_visible_patches_are_pasted() {
        let mut prediction = Picture::filled((4, 6), BLACK);
        let input = Picture::filled((4, 6), [1, 2, 3]);
        prediction.paste_visible_patches(&input, &MASKED, (2, 3)).unwrap();
        for y in 0..4 {
            for x in 0..6 {
                let masked = (x < 2 && y < 2) || (x >= 4 && y >= 2);
                assert_eq!(prediction.pixel(x, y), if masked { BLACK } else { [1, 2, 3] });
            }
        }
    }

    #[test]
    fn misfits_are_errors() {
        let mut picture = Picture::filled((4, 6), BLACK);
        assert!(picture.hide_patches(&MASKED, (3, 2), WHITE).is_err());
        assert!(picture.hide_patches(&MASKED, (2, 2), WHITE).is_err());
        assert!(picture.hide_patches(&[], (0, 3), WHITE).is_err());
        let small = Picture::filled((2, 6), BLACK);
        assert!(picture.paste_visible_patches(&small, &MASKED, (2, 3)).is_err());
    }
}
