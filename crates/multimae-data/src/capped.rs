//! Long lists in error messages.

use std::fmt;

/// The items of a long list that an error message shows.
const SHOWN: usize = 20;

/// A list in an error message: every item after the separator, the end of a long list as a count.
pub(crate) struct Capped<'a, T>(pub(crate) &'a [T], pub(crate) &'static str);

impl<T: fmt::Display> fmt::Display for Capped<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for item in self.0.iter().take(SHOWN) {
            write!(f, "{}{item}", self.1)?;
        }
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, "{}... and {more} more", self.1),
        }
    }
}
