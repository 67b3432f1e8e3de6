//! The environment variable `MULTIMAE_KERNELS`, which takes faster code out for comparisons.

use std::sync::OnceLock;

/// The code that computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Switch {
    /// `plain`: the engine's own operations.
    Plain,
    /// `library`: our operations, with the fp32 GEMMs of a library.
    Library,
    /// `vectors`: our operations and GEMMs on the vector units, without AMX tiles.
    Vectors,
    /// Everything that the processor has.
    All,
}

impl Switch {
    /// The value of the variable when it is first asked for; everything without it, or with one that
    /// is not known.
    pub(crate) fn current() -> Self {
        static CURRENT: OnceLock<Switch> = OnceLock::new();
        *CURRENT.get_or_init(|| Self::of(std::env::var("MULTIMAE_KERNELS").ok().as_deref()))
    }

    fn of(value: Option<&str>) -> Self {
        match value {
            Some("plain") => Self::Plain,
            Some("library") => Self::Library,
            Some("vectors") => Self::Vectors,
            _ => Self::All,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_takes_more_out() {
        let values = [Some("plain"), Some("library"), Some("vectors"), None];
        assert!(values.map(Switch::of).is_sorted());
        assert_eq!(Switch::of(Some("else")), Switch::All);
    }
}
