//! Sound files in, mono samples out.

use audio_transformer::audio::{self, Waveform};

fn ramp() -> Waveform {
    Waveform { samples: (i16::MIN..=i16::MAX).map(|value| f32::from(value) / 32_768.0).collect(), sample_rate: 44_100 }
}

#[test]
fn every_16_bit_value_survives_writing_and_reading() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ramp.wav");
    audio::write_wav(&path, &ramp()).unwrap();
    assert_eq!(audio::read(&path).unwrap(), ramp());
    assert_eq!(audio::decode(&audio::wav_bytes(&ramp()).unwrap(), &path).unwrap(), ramp());
    let info = audio::wav_info(&path).unwrap();
    assert_eq!((info.sample_rate, info.channels, info.bits_per_sample, info.n_frames), (44_100, 1, 16, 65_536));
}

#[test]
fn a_wav_cut_short_is_refused_with_both_lengths() {
    let bytes = audio::wav_bytes(&ramp()).unwrap();
    let error = audio::decode(&bytes[..bytes.len() / 2], "cut.wav".as_ref()).unwrap_err().to_string();
    assert!(error.contains("cut.wav at byte 65558: expected 131072 bytes"), "{error}");
}
