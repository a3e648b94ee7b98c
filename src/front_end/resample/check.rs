//! What can be converted, and what cannot.

use crate::error::{Error, Result};

/// Samples beyond this are no sound (32-bit integers taken for floats stay below 1e10), and far enough below the
/// largest 32-bit float that no sum of them, nor its square, overflows in a transform.
const MAX_ABS_SAMPLE: f32 = 1e12;

/// Checks that every sample is a finite number of sensible size.
///
/// # Errors
/// [`Error::Signal`] naming the first sample that is not.
pub(crate) fn check_samples(samples: &[f32]) -> Result<()> {
    // Without their sign the bits of floats order like the floats, with infinity and NaN on top. No early exit: the compiler
    // then compares many samples at once.
    let too_large = |sample: &f32| (sample.abs().to_bits() as i32) > MAX_ABS_SAMPLE.to_bits() as i32;
    if !samples.iter().fold(false, |any, sample| any | too_large(sample)) {
        return Ok(());
    }
    let first = samples.iter().position(too_large).unwrap_or(0);
    Err(Error::Signal {
        expected: format!("finite samples within ±{MAX_ABS_SAMPLE:e}"),
        found: format!("{} at sample {first}", samples[first]),
    })
}

/// What a transform or a converter says of buffers that do not fit it.
pub(super) fn refused(reason: &dyn std::fmt::Display) -> Error {
    Error::Signal { expected: "buffers that fit the converter".into(), found: reason.to_string() }
}
