//! From a file to a normalised log-mel spectrogram. Nothing here knows of data sets or networks.

pub mod audio;
pub mod resample;
mod offset;
pub mod spectrogram;
pub mod mel;
pub mod features;
pub mod fbank;
pub mod published;
