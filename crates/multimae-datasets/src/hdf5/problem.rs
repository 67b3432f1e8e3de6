//! Errors of the library, with a remedy.

use hdf5_pure::{Error, FormatError as Form};

/// The problem of a file that ends early or holds nonsense.
pub(crate) const DAMAGED: &str = "the file is damaged; copy or download it again";

/// The problem of a file in a form of HDF5 that is not read here, with the remedy; or another one.
pub(crate) fn problem_or(error: &Error, otherwise: &str) -> String {
    let newer = matches!(
        error,
        Error::Format(
            Form::UnsupportedVersion(_)
                | Form::UnsupportedMessage(_)
                | Form::UnsupportedFileSpaceInfoVersion(_)
                | Form::UnsupportedFilter(_)
                | Form::UnsupportedZfp(_)
                | Form::UnsupportedVirtualLayout
                | Form::UnsupportedExternalStorage
                | Form::UnsupportedFillValueVersion(_)
                | Form::UnsupportedSohmReference
                | Form::UnsupportedFilteredHeapObject
                | Form::InvalidObjectHeaderVersion(_)
                | Form::InvalidDatatypeVersion { .. }
                | Form::InvalidDataspaceVersion(_)
                | Form::InvalidLayoutVersion(_)
                | Form::InvalidLayoutClass(_)
                | Form::InvalidChunkIndexType(_)
                | Form::InvalidLinkVersion(_)
                | Form::InvalidLinkInfoVersion(_)
                | Form::InvalidAttributeVersion(_)
                | Form::InvalidAttributeInfoVersion(_)
                | Form::InvalidSharedMessageVersion(_)
                | Form::InvalidSohmTableVersion(_)
                | Form::InvalidBTreeV2Version(_)
                | Form::InvalidFractalHeapVersion(_)
                | Form::InvalidGlobalHeapVersion(_)
                | Form::InvalidLocalHeapVersion(_)
                | Form::InvalidSymbolTableNodeVersion(_)
                | Form::InvalidFilterPipelineVersion(_)
        )
    );
    if newer {
        return format!(
            "it is of a newer or other form of HDF5 than is read here ({error}); if it is whole, \
             rewrite it with `h5repack --low=0 --high=1 OLD NEW`, or save it as -v7.3 in MATLAB"
        );
    }
    format!("{otherwise}: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_form_of_hdf5_has_its_own_remedy() {
        let newer = problem_or(&Error::Format(Form::UnsupportedVersion(9)), DAMAGED);
        assert!(newer.contains("newer or other form") && newer.contains("h5repack"), "{newer}");
        assert!(!newer.contains("damaged"), "{newer}");
    }

    #[test]
    fn anything_else_is_the_problem_that_the_caller_states() {
        let damaged = problem_or(&Error::Format(Form::SignatureNotFound), DAMAGED);
        assert!(damaged.starts_with(DAMAGED) && !damaged.contains("h5repack"), "{damaged}");
        // With the library's own words behind it.
        assert!(damaged.len() > DAMAGED.len() + 2, "{damaged}");
    }
}
