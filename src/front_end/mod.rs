//! From a file to a normalised log-mel spectrogram. Nothing here knows of data sets or networks.

mod offset;
pub mod audio;
pub mod resample;
pub mod spectrogram;
pub mod mel;
pub mod features;
pub mod fbank;
pub mod published;
pub mod pieces;
