//! Sound files to mono samples and back: any of the usual formats in, 16-bit WAV out.
//!
//! The format is chosen by what the file holds, never by its name. Ordinary WAVs are opened by hound and converted in bulk;
//! what hound refuses (64-bit float, ADPCM, A-law, …) and FLAC, MP3, AAC and M4A go to symphonia, Vorbis to lewton, Opus to opus-pure. PCM in
//! QuickTime is read here.

mod waveform;
mod write;
mod balance;
mod mp4;
mod edit_list;
mod mono;
mod pcm;
mod tags;
mod riff;
mod mpeg;
mod ogg;
mod opus;
mod vorbis;
mod quicktime;
mod content;
mod compressed;
mod wav;
mod decode;
mod stream;

pub use decode::{decode, read};
pub use stream::{Listen, stream, stream_as_recorded};
pub use wav::{WavInfo, wav_info};
pub use waveform::{MAX_AMPLITUDE, MAX_CHANNELS, MAX_DURATION_S, MAX_FRAMES, SAMPLE_RATES, Waveform};
pub use write::{wav_bytes, write_wav};
