//! Sound files in, mono samples out: fixtures of every format against closed forms and other decoders, damage, and round trips.
//!
//! `tests/fixtures/audio/make_fixtures.py` made the files and says what is in them.

use std::f64::consts::TAU;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use audio_transformer::Error;
use audio_transformer::internals::front_end::audio::{self, Waveform};
use ndarray::Array1;
use ndarray_npy::ReadNpyExt;

/// Formats that keep every sample to within a bound: file, Hz, channels, bound.
const EXACT: [(&str, u32, usize, f64); 44] = [
    ("pcm-8bit-8000Hz-mono.wav", 8_000, 1, half_step(8)),
    ("pcm-16bit-44100Hz-mono.wav", 44_100, 1, half_step(16)),
    ("pcm-16bit-22050Hz-8ch.wav", 22_050, 8, half_step(16)),
    ("pcm-24bit-48000Hz-stereo.wav", 48_000, 2, half_step(24)),
    ("pcm-32bit-96000Hz-3ch.wav", 96_000, 3, half_step(32)),
    ("pcm-32bit-fmt18-44100Hz-mono.wav", 44_100, 1, half_step(32)),
    ("float-32bit-192000Hz-mono.wav", 192_000, 1, 0.0),
    ("float-64bit-44100Hz-stereo.wav", 44_100, 2, 0.0),
    ("extensible-16bit-44100Hz-6ch.wav", 44_100, 6, half_step(16)),
    ("extensible-24bit-48000Hz-stereo.wav", 48_000, 2, half_step(24)),
    ("extensible-24bit-in-32-48000Hz-stereo.wav", 48_000, 2, half_step(24)),
    ("extensible-float-64bit-8000Hz-4ch.wav", 8_000, 4, 0.0),
    ("rf64-16bit-44100Hz-mono.wav", 44_100, 1, half_step(16)),
    ("odd-chunk-padded.wav", 44_100, 1, half_step(16)),
    ("odd-chunk-unpadded.wav", 44_100, 1, half_step(16)),
    ("data-length-zero-streamed.wav", 44_100, 1, half_step(16)),
    ("data-length-ffffffff-streamed.wav", 44_100, 1, half_step(16)),
    ("data-length-7ffff000-streamed.wav", 44_100, 1, half_step(16)),
    ("data-length-too-long-riff-length-right.wav", 44_100, 1, half_step(16)),
    ("data-length-odd.wav", 44_100, 1, half_step(16)),
    // ITU-T G.711: 16 steps to the octave, at the top one of 1/2 to 1.
    ("alaw-8000Hz-mono.wav", 8_000, 1, 0.5 / 16.0 / 2.0),
    ("mulaw-8000Hz-stereo.wav", 8_000, 2, 0.5 / 16.0 / 2.0),
    ("flac-8bit-8000Hz-8ch.flac", 8_000, 8, half_step(8)),
    ("flac-16bit-44100Hz-stereo.flac", 44_100, 2, half_step(16)),
    ("flac-24bit-96000Hz-mono.flac", 96_000, 1, half_step(24)),
    ("flac-in-ogg-16bit-48000Hz-mono.oga", 48_000, 1, 2.0 * half_step(16)),
    ("alac-44100Hz-mono.m4a", 44_100, 1, 2.0 * half_step(16)),
    ("pcm-20bit-in-24-48000Hz-stereo.wav", 48_000, 2, half_step(20)),
    ("pcm-12bit-in-16-48000Hz-stereo.wav", 48_000, 2, half_step(12)),
    // The encoder of these cuts off what does not fit, where the others round.
    ("pcm-8bit-unsigned-44100Hz-stereo.mov", 44_100, 2, 2.0 * half_step(8)),
    ("pcm-8bit-signed-44100Hz-stereo.mov", 44_100, 2, 2.0 * half_step(8)),
    ("pcm-16bit-be-44100Hz-stereo.mov", 44_100, 2, 2.0 * half_step(16)),
    ("pcm-16bit-le-44100Hz-stereo.mov", 44_100, 2, 2.0 * half_step(16)),
    ("pcm-24bit-be-44100Hz-stereo.mov", 44_100, 2, 2.0 * half_step(24)),
    ("pcm-24bit-le-44100Hz-stereo.mov", 44_100, 2, 2.0 * half_step(24)),
    ("pcm-32bit-be-44100Hz-stereo.mov", 44_100, 2, 2.0 * half_step(32)),
    ("pcm-32bit-le-44100Hz-stereo.mov", 44_100, 2, 2.0 * half_step(32)),
    ("pcm-float-32bit-be-44100Hz-stereo.mov", 44_100, 2, 0.0),
    ("pcm-float-32bit-le-44100Hz-stereo.mov", 44_100, 2, 0.0),
    ("pcm-float-64bit-be-44100Hz-stereo.mov", 44_100, 2, 0.0),
    ("pcm-float-64bit-le-44100Hz-stereo.mov", 44_100, 2, 0.0),
    ("lpcm-24bit-be-96000Hz-mono.mov", 96_000, 1, 2.0 * half_step(24)),
    ("lpcm-24bit-le-96000Hz-mono.mov", 96_000, 1, 2.0 * half_step(24)),
    ("lpcm-float-64bit-le-96000Hz-mono.mov", 96_000, 1, 0.0),
];

/// Lossy formats with another decoder's samples beside them: file, Hz, and how far two decoders may differ.
const LOSSY: [(&str, u32, f32); 20] = [
    ("vorbis-44100Hz-stereo.ogg", 44_100, 1e-6),
    ("vorbis-8000Hz-mono.ogg", 8_000, 1e-6),
    ("vorbis-44100Hz-stereo-uncoupled.ogg", 44_100, 1e-6),
    ("vorbis-48000Hz-6ch.ogg", 48_000, 1e-6),
    ("mp3-44100Hz-stereo.mp3", 44_100, 1e-5),
    ("mp3-22050Hz-mono-vbr.mp3", 22_050, 1e-5),
    ("mp3-8000Hz-mono.mp3", 8_000, 1e-5),
    ("mp3-48000Hz-mono-no-header.mp3", 48_000, 1e-5),
    ("mp3-44100Hz-stereo-no-header.mp3", 44_100, 1e-5),
    ("aac-44100Hz-stereo.m4a", 44_100, 1e-6),
    ("aac-16000Hz-mono.m4a", 16_000, 1e-6),
    ("aac-48000Hz-mono.aac", 48_000, 1e-6),
    ("opus-48000Hz-mono.opus", 48_000, 2e-5),
    ("opus-silk-mono.opus", 48_000, 2e-5),
    ("opus-hybrid-stereo.opus", 48_000, 2e-5),
    ("opus-celt-stereo.opus", 48_000, 2e-5),
    ("opus-long-frames-stereo.opus", 48_000, 2e-5),
    ("opus-6ch.opus", 48_000, 2e-5),
    ("adpcm-ms-22050Hz-stereo.wav", 22_050, 0.0),
    // The IMA document leaves open how the predictor's step is rounded; a step of 4 bits is far larger.
    ("adpcm-ima-11025Hz-mono.wav", 11_025, 1e-3),
];

/// The rounding error of samples stored in so many bits.
const fn half_step(bits: u32) -> f64 {
    0.5 / (1_u64 << (bits - 1)) as f64
}

fn fixture(name: &str) -> PathBuf {
    Path::new("tests/fixtures/audio").join(name)
}

fn bytes(name: &str) -> Vec<u8> {
    fs::read(fixture(name)).unwrap()
}

/// The mean over the channels of the signal that every fixture holds.
fn signal(n: usize, channels: usize) -> f64 {
    let n = n as f64;
    let gain = (1..=channels).map(|channel| 0.9 / channel as f64).sum::<f64>() / channels as f64;
    gain * (TAU * (n / 100.0 + n * n / 60_000.0)).sin()
}

/// A ramp over all 16-bit values.
fn ramp() -> Waveform {
    Waveform { samples: (i16::MIN..=i16::MAX).map(|value| f32::from(value) / 32_768.0).collect(), sample_rate: 44_100 }
}

/// Expected and found, of an `Error::Audio` that names `name`.
fn refusal(result: audio_transformer::Result<Waveform>, name: &str) -> (Option<u64>, String, String) {
    match result {
        Err(Error::Audio { path, offset, expected, found }) => {
            assert!(path.ends_with(name), "{} is not {name}", path.display());
            (offset, expected, found)
        }
        Ok(waveform) => panic!("{name}: expected Error::Audio, got {} samples", waveform.samples.len()),
        Err(error) => panic!("{name}: expected Error::Audio, got {error}"),
    }
}

#[test]
fn lossless_files_hold_the_signal_to_their_own_precision() {
    for (name, sample_rate, channels, bound) in EXACT {
        let waveform = audio::read(&fixture(name)).unwrap();
        assert_eq!(waveform.sample_rate, sample_rate, "{name}");
        assert_eq!(
            waveform.samples.len(),
            if name.ends_with(".oga") || name.ends_with(".m4a") { 4096 } else { 256 },
            "{name}"
        );
        // In f32 each channel rounds by up to 2⁻²⁵, their sum, below 2, by up to 2⁻²⁴ and the mean by 2⁻²⁵: at most 2⁻²³.
        let bound = bound + f64::from(f32::EPSILON);
        for (n, &sample) in waveform.samples.iter().enumerate() {
            let error = (f64::from(sample) - signal(n, channels)).abs();
            assert!(error <= bound, "{name}: frame {n} is off by {error:e}, more than {bound:e}");
        }
    }
}

#[test]
fn lossy_files_decode_to_another_decoders_samples() {
    for (name, sample_rate, bound) in LOSSY {
        let waveform = audio::read(&fixture(name)).unwrap();
        let peer: Array1<f32> = Array1::read_npy(File::open(fixture(&format!("{name}.npy"))).unwrap()).unwrap();
        assert_eq!((waveform.sample_rate, waveform.samples.len()), (sample_rate, peer.len()), "{name}");
        let error = waveform.samples.iter().zip(&peer).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(error <= bound, "{name}: off by {error:e}");
    }
}

#[test]
fn what_an_encoder_added_is_cut_off() {
    for name in ["vorbis-44100Hz-stereo.ogg", "mp3-44100Hz-stereo.mp3", "mp3-8000Hz-mono.mp3", "aac-44100Hz-stereo.m4a"]
    {
        let channels = if name.contains("stereo") { 2 } else { 1 };
        let samples = audio::read(&fixture(name)).unwrap().samples;
        assert_eq!(samples.len(), 4096, "{name}");
        let error = |shift: usize| {
            let difference = |n: usize| f64::from(samples[n]) - signal(n + shift - 1_200, channels);
            (1_200..2_800).map(|n| difference(n).powi(2)).sum::<f64>()
        };
        let best = (0..=2_400).min_by(|&a, &b| error(a).total_cmp(&error(b))).unwrap();
        assert_eq!(best, 1_200, "{name}: best at a shift of {} frames", best as i64 - 1_200);
    }
}

#[test]
fn a_file_is_what_it_holds_whatever_its_name() {
    let folder = tempfile::tempdir().unwrap();
    for (name, other) in
        [("mp3-44100Hz-stereo.mp3", "a.wav"), ("pcm-16bit-44100Hz-mono.wav", "b.mp3"), ("vorbis-8000Hz-mono.ogg", "c")]
    {
        let path = folder.path().join(other);
        fs::copy(fixture(name), &path).unwrap();
        assert_eq!(audio::read(&path).unwrap(), audio::read(&fixture(name)).unwrap());
    }
}

#[test]
fn id3_tags_in_front_are_passed_over() {
    let tag = [b"ID3\x04\x00\x00\x00\x00\x01\x02".as_slice(), &[0xFF; 130]].concat();
    for name in ["flac-16bit-44100Hz-stereo.flac", "aac-48000Hz-mono.aac", "mp3-48000Hz-mono-no-header.mp3"] {
        let tagged = [tag.clone(), tag.clone(), bytes(name)].concat();
        assert_eq!(audio::decode(&tagged, Path::new(name)).unwrap(), audio::read(&fixture(name)).unwrap(), "{name}");
    }
}

/// A tag that stands in front (ID3v2), with or without a footer, and those that stand behind (ID3v1, APE, Lyrics3, ID3v2).
fn tags_in_front() -> [Vec<u8>; 2] {
    let id3 = |flags: u8| [b"ID3\x04\x00".as_slice(), &[flags, 0, 0, 1, 2], &[0x2A; 130]].concat();
    [id3(0), [id3(0x10), b"3DI\x04\x00\x10\x00\x00\x01\x02".to_vec()].concat()]
}

fn tags_behind() -> Vec<Vec<u8>> {
    let id3v1 = [b"TAG".as_slice(), &[b'x'; 125]].concat();
    let item = b"\x04\0\0\0\0\0\0\0Title\0abcd";
    let ape = |flags: u32| {
        let size = item.len() as u32 + 32;
        let words = [2_000, size, 1, flags].map(u32::to_le_bytes).concat();
        [b"APETAGEX".as_slice(), &words, &[0; 8]].concat()
    };
    let bare = [item.as_slice(), &ape(0)].concat();
    let whole = [ape(0xA000_0000), item.to_vec(), ape(0x8000_0000)].concat();
    let lyrics = b"LYRICSBEGININD0000210000021LYRICS200".to_vec();
    vec![
        id3v1.clone(),
        [[b"TAG+".as_slice(), &[0; 223]].concat(), id3v1.clone()].concat(),
        bare,
        [whole, id3v1.clone()].concat(),
        [lyrics, id3v1].concat(),
        tags_in_front()[1].clone(),
    ]
}

#[test]
fn tags_around_a_file_of_any_format_change_no_sample() {
    let names = EXACT.iter().map(|row| row.0).chain(LOSSY.iter().map(|row| row.0));
    // Where a data chunk says nothing of its length, what stands behind it can only be told by the tags' own marks.
    for name in names {
        let (whole, plain) = (bytes(name), audio::read(&fixture(name)).unwrap());
        for tag in tags_behind() {
            let tagged = [whole.clone(), tag].concat();
            let found = audio::decode(&tagged, Path::new(name)).unwrap();
            assert_eq!(found, plain, "{name} with a tag of {} bytes behind", tagged.len() - whole.len());
        }
        // The places of samples in an MP4 count from the start of the file; a tag there would shift them all.
        for tag in tags_in_front().into_iter().filter(|_| !name.ends_with(".m4a") && !name.ends_with(".mov")) {
            let tagged = [tag, whole.clone(), tags_behind()[3].clone()].concat();
            assert_eq!(audio::decode(&tagged, Path::new(name)).unwrap(), plain, "{name} behind a tag");
        }
    }
}

#[test]
fn zeros_before_the_first_frame_are_passed_over_and_noise_is_no_frame() {
    for name in ["mp3-44100Hz-stereo.mp3", "mp3-48000Hz-mono-no-header.mp3", "aac-48000Hz-mono.aac"] {
        let plain = audio::read(&fixture(name)).unwrap();
        for n_zeros in [1, 417, 5_000] {
            let padded = [vec![0; n_zeros], bytes(name)].concat();
            assert_eq!(audio::decode(&padded, Path::new(name)).unwrap(), plain, "{name} behind {n_zeros} zeros");
            let tagged = [tags_in_front()[0].clone(), padded].concat();
            assert_eq!(audio::decode(&tagged, Path::new(name)).unwrap(), plain, "{name} behind a tag and zeros");
        }
    }
    let mut state = 1_u32;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(100_000)
    .collect();
    let utf16: Vec<u8> = "\u{FEFF}not a sound at all, but a text".encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (name, bytes) in [("noise.mp3", noise), ("text.mp3", utf16), ("zeros.mp3", vec![0; 4_096])] {
        let (_, expected, _) = refusal(audio::decode(&bytes, Path::new(name)), name);
        assert!(expected.contains("MP3"), "{name}");
    }
}

#[test]
fn files_joined_end_to_end_lose_nothing() {
    let chains = [
        ["mp3-44100Hz-stereo.mp3", "mp3-44100Hz-stereo.mp3"],
        ["mp3-22050Hz-mono-vbr.mp3", "mp3-22050Hz-mono-vbr.mp3"],
        ["vorbis-44100Hz-stereo.ogg", "vorbis-44100Hz-stereo.ogg"],
        ["flac-in-ogg-16bit-48000Hz-mono.oga", "opus-48000Hz-mono.opus"],
        ["opus-silk-mono.opus", "opus-hybrid-stereo.opus"],
    ];
    for names in chains {
        let parts = names.map(|name| audio::read(&fixture(name)).unwrap().samples);
        for between in [vec![], tags_behind()[0].clone()] {
            if !between.is_empty() && !names[0].ends_with(".mp3") {
                continue;
            }
            let joined = [bytes(names[0]), between, bytes(names[1])].concat();
            assert_eq!(audio::decode(&joined, Path::new("a")).unwrap().samples, parts.concat(), "{names:?}");
        }
    }
    let rates = ["mp3-44100Hz-stereo.mp3", "mp3-22050Hz-mono-vbr.mp3"].map(bytes).concat();
    assert_eq!(refusal(audio::decode(&rates, Path::new("a")), "a").1, "44100 Hz throughout");
    let rates = ["vorbis-44100Hz-stereo.ogg", "vorbis-8000Hz-mono.ogg"].map(bytes).concat();
    assert_eq!(refusal(audio::decode(&rates, Path::new("a")), "a").1, "44100 Hz throughout");
}

#[test]
fn a_header_that_counts_too_few_frames_is_refused() {
    // One file with a count and one without, as copying them together makes: the count is that of the first.
    let (counted, bare) = (bytes("mp3-44100Hz-stereo.mp3"), bytes("mp3-44100Hz-stereo-no-header.mp3"));
    let n_bare = audio::read(&fixture("mp3-44100Hz-stereo-no-header.mp3")).unwrap().samples.len();
    match audio::decode(&[counted, bare].concat(), Path::new("a")) {
        Ok(waveform) => assert!(waveform.samples.len() >= 4_096 + n_bare - 2_304, "{}", waveform.samples.len()),
        Err(error) => assert!(error.to_string().contains("a header that ends them"), "{error}"),
    }
}

#[test]
fn mp3_in_a_wav_is_what_its_frames_are() {
    let name = "mp3-44100Hz-stereo-no-header.mp3";
    let frames = bytes(name);
    let mut wav = b"RIFF\0\0\0\0WAVEfmt \x1E\0\0\0".to_vec();
    wav.extend([
        0x55, 0, 2, 0, 0x44, 0xAC, 0, 0, 0x80, 0x3E, 0, 0, 0x80, 4, 0, 0, 12, 0, 1, 0, 2, 0, 0, 0, 0xA1, 1, 1, 0, 0x71,
        5,
    ]);
    wav.extend(b"data");
    wav.extend((frames.len() as u32).to_le_bytes());
    wav.extend(frames);
    let riff_len = (wav.len() - 8) as u32;
    wav[4..8].copy_from_slice(&riff_len.to_le_bytes());
    assert_eq!(audio::decode(&wav, Path::new("a.wav")).unwrap(), audio::read(&fixture(name)).unwrap());
}

#[test]
fn what_cannot_be_decoded_is_named() {
    let expected = [
        ("opus-48000Hz-mono.mp4", "Opus"),
        ("mp3-24000Hz-mono.mp3", "MP3 at 24 kHz"),
        ("opus-48000Hz-mono.webm", "WebM or Matroska"),
        ("mp2-44100Hz-mono.mp2", "MPEG layer 2"),
        ("speex-8000Hz-mono.spx", "Speex"),
        ("wma-44100Hz-mono.wma", "WMA (ASF)"),
        ("pcm-16bit-44100Hz-mono.aiff", "AIFF"),
        ("damaged-mp3-in-wav.wav", "0x0055"),
        ("made-with.txt", "text: \"numpy"),
    ];
    for (name, found_word) in expected {
        let (_, expected, found) = refusal(audio::read(&fixture(name)), name);
        assert!(expected.contains("FLAC") && found.contains(found_word), "{name}: {found}");
    }
}

#[test]
fn damage_is_told_with_its_place() {
    let expected = [
        ("damaged-float-nan.wav", Some(44 + 400), "NaN in frame 100"),
        ("damaged-float-inf.wav", Some(44 + 400), "inf in frame 100"),
        ("damaged-float-1e+30.wav", Some(44 + 400), "1e30 in frame 100"),
        ("damaged-no-samples.wav", Some(44), "0 bytes"),
        ("damaged-no-fmt.wav", Some(12), "none"),
        ("damaged-no-data.wav", Some(36), "the end of the file"),
        ("damaged-no-channels.wav", None, "0"),
        ("pcm-16bit-8000Hz-33ch.wav", None, "33; mix them down: ffmpeg -i FILE -ac 1 mono.wav"),
        ("damaged-rate-zero.wav", None, "0 Hz"),
        ("damaged-chunk-length-huge.wav", Some(108), "the end of the file"),
        ("damaged-fmt-length-huge.wav", Some(12), "one of 4294967280"),
    ];
    for (name, offset, found) in expected {
        let refusal = refusal(audio::read(&fixture(name)), name);
        assert_eq!((refusal.0, refusal.2.as_str()), (offset, found), "{name}");
    }
    assert_eq!(refusal(audio::decode(b"", Path::new("empty.wav")), "empty.wav").2, "an empty file");
}

#[test]
fn what_stands_twice_in_a_wav_is_refused_unless_it_is_the_same() {
    let chunk = |name: &[u8; 4], body: &[u8]| [&name[..], &(body.len() as u32).to_le_bytes(), body].concat();
    let of = |chunks: &[Vec<u8>]| {
        let body = [b"WAVE".to_vec(), chunks.concat()].concat();
        audio::decode(&chunk(b"RIFF", &body), Path::new("twice.wav"))
    };
    let fmt = |rate: u32| chunk(b"fmt ", &[&[1, 0, 1, 0], &rate.to_le_bytes()[..], &[0; 4], &[2, 0, 16, 0]].concat());
    let data = |n: usize| chunk(b"data", &[1, 2].repeat(n));
    let note = |n: usize| chunk(b"note", &vec![b'd'; n]);
    let n_samples = |chunks: &[Vec<u8>]| of(chunks).unwrap().samples.len();
    assert_eq!(n_samples(&[fmt(8000), fmt(8000), data(100)]), 100);
    assert_eq!(n_samples(&[fmt(8000), data(100), note(3), vec![0], note(8)]), 100);
    // Neither an end that is no chunk nor one that is cut off is further sound.
    assert_eq!(n_samples(&[fmt(8000), data(100), b"dat".to_vec()]), 100);
    assert_eq!(n_samples(&[fmt(8000), data(100), b"something else, data and so on".to_vec()]), 100);
    let (offset, expected, _) = refusal(of(&[fmt(8000), fmt(16_000), data(100)]), "twice.wav");
    assert_eq!((offset, expected.as_str()), (Some(12 + 24), "one fmt chunk"));
    for (behind, at) in [(vec![], 244), (note(8), 260), ([note(3), vec![0]].concat(), 256), (note(3), 255)] {
        let (offset, _, found) = refusal(of(&[fmt(8000), data(100), behind, data(50)]), "twice.wav");
        assert_eq!((offset, found.as_str()), (Some(at), "another data chunk"));
    }
}

/// Every file that says how long it is. The others: data lengths that were never known, and bare MPEG frames.
#[test]
fn every_cut_of_a_file_is_refused() {
    let names = EXACT.iter().map(|row| row.0).chain(LOSSY.iter().map(|row| row.0));
    for name in names.filter(|name| !["streamed", ".mp3", ".aac"].iter().any(|word| name.contains(word))) {
        let whole = bytes(name);
        // Chunks behind the samples may go.
        let end = match name {
            "odd-chunk-padded.wav" => whole.len() - 14,
            "rf64-16bit-44100Hz-mono.wav" => whole.len() - 26,
            "data-length-odd.wav" => whole.len() - 1,
            _ => whole.len(),
        };
        for len in 0..end {
            let (offset, _, _) = refusal(audio::decode(&whole[..len], Path::new(name)), name);
            assert!(offset.is_none_or(|offset| offset <= len as u64), "{name} cut to {len} bytes: {offset:?}");
        }
    }
}

#[test]
fn a_streamed_wav_plays_to_its_end() {
    for name in
        ["data-length-zero-streamed.wav", "data-length-ffffffff-streamed.wav", "data-length-7ffff000-streamed.wav"]
    {
        let whole = bytes(name);
        let samples = audio::decode(&whole[..whole.len() - 101], Path::new(name)).unwrap().samples;
        assert_eq!(samples.len(), 256 - 51, "{name}");
        assert_eq!(samples, audio::read(&fixture(name)).unwrap().samples[..205], "{name}");
    }
}

#[test]
fn bare_frames_are_refused_when_cut_inside_one() {
    // How many ends between two frames there are, the file's own included. Where the first frame counts them, one may be missing.
    let ends = [
        ("mp3-48000Hz-mono-no-header.mp3", 5),
        ("aac-48000Hz-mono.aac", 5),
        ("mp3-44100Hz-stereo.mp3", 2),
        ("mp3-22050Hz-mono-vbr.mp3", 2),
        ("mp3-8000Hz-mono.mp3", 2),
    ];
    for (name, n_ends) in ends {
        let whole = bytes(name);
        let plays = |len: &usize| audio::decode(&whole[..*len], Path::new(name)).is_ok();
        let accepted: Vec<_> = (0..=whole.len()).filter(plays).collect();
        assert!(accepted.len() <= n_ends && accepted.last() == Some(&whole.len()), "{name}: {accepted:?}");
    }
}

#[test]
fn the_names_of_channels_do_not_matter() {
    for name in ["extensible-float-64bit-8000Hz-4ch.wav", "extensible-16bit-44100Hz-6ch.wav"] {
        let mut named = bytes(name);
        let original = audio::read(&fixture(name)).unwrap();
        for mask in [0_u32, 1, 0x8000_0000, 0x8000_0001, 0xFFFF_FFFF] {
            named[40..44].copy_from_slice(&mask.to_le_bytes());
            assert_eq!(audio::decode(&named, Path::new(name)).unwrap(), original, "{name} {mask:#x}");
        }
    }
}

#[test]
fn a_changed_byte_gives_an_error_or_finite_samples() {
    let names = EXACT.iter().map(|row| row.0).chain(LOSSY.iter().map(|row| row.0));
    for name in names {
        let mut changed = bytes(name);
        for at in (0..changed.len()).step_by(1 + changed.len() / 300) {
            let byte = changed[at];
            for new in [0, 0xFF, byte ^ 1, byte ^ 0x80] {
                changed[at] = new;
                if let Ok(waveform) = audio::decode(&changed, Path::new(name)) {
                    assert!(!waveform.samples.is_empty() && waveform.samples.iter().all(|sample| sample.is_finite()));
                    assert!(audio::SAMPLE_RATES.contains(&waveform.sample_rate), "{name}");
                }
            }
            changed[at] = byte;
        }
    }
}

/// Files on which a decoder once panicked or worse, found by `cargo fuzz`.
#[test]
fn what_fuzzing_found_gives_an_error_or_finite_samples() {
    let crashes = fs::read_dir(fixture("")).unwrap().map(|entry| entry.unwrap().path());
    let crashes: Vec<_> = crashes.filter(|path| path.to_string_lossy().contains("crash-")).collect();
    assert!(!crashes.is_empty());
    for path in crashes {
        match audio::read(&path) {
            Ok(waveform) => assert!(waveform.samples.iter().all(|sample| sample.is_finite()), "{}", path.display()),
            Err(error) => assert!(matches!(error, Error::Audio { .. }), "{error}"),
        }
    }
}

#[test]
fn a_changed_sample_in_a_flac_fails_its_checksum() {
    let mut changed = bytes("flac-16bit-44100Hz-stereo.flac");
    // The MD5 of the samples: the last 16 bytes of STREAMINFO.
    changed[8 + 18] ^= 1;
    assert_eq!(refusal(audio::decode(&changed, Path::new("a.flac")), "a.flac").2, "samples with another");
}

#[test]
fn an_ogg_with_a_page_damaged_or_missing_is_refused() {
    for name in ["vorbis-44100Hz-stereo.ogg", "opus-6ch.opus", "opus-silk-mono.opus"] {
        let whole = bytes(name);
        let mut damaged = whole.clone();
        let at = damaged.len() - 20;
        damaged[at] ^= 1;
        let (offset, expected, _) = refusal(audio::decode(&damaged, Path::new(name)), name);
        assert!(offset.is_some() && expected.contains("checksum"), "{name}: {expected}");
        // Without its names and titles, or the page behind them.
        let starts: Vec<usize> = (0..whole.len() - 4).filter(|&at| whole[at..].starts_with(b"OggS")).collect();
        let missing = [&whole[..starts[1]], &whole[starts[2]..]].concat();
        let (_, expected, found) = refusal(audio::decode(&missing, Path::new(name)), name);
        assert_eq!((&expected[..], &found[..]), ("page 1 of the stream", "page 2"), "{name}");
    }
    let name = "opus-discrete-3ch.opus";
    assert_eq!(refusal(audio::read(&fixture(name)), name).2, "3 in another order (mapping family 255)");
}

#[test]
fn opposite_channels_cancel() {
    let mut stereo = bytes("pcm-16bit-44100Hz-mono.wav")[..44].to_vec();
    stereo[22] = 2; // channels
    stereo[28..34].copy_from_slice(&[0x10, 0xB1, 2, 0, 4, 0]); // 176,400 bytes per second, 4 per frame
    for _ in 0..128 {
        stereo.extend([0x34, 0x12, 0xCC, 0xED]); // 0x1234, -0x1234
    }
    assert_eq!(audio::decode(&stereo, Path::new("a.wav")).unwrap().samples, [0.0; 128]);
}

#[test]
fn what_a_lossy_format_leaves_of_opposite_channels_is_silence_too() {
    for name in ["cancels.ogg", "cancels.opus", "cancels.mp3"] {
        let sound = audio::read(&fixture(name)).unwrap();
        assert!(sound.samples.len() > 20_000 && sound.samples.iter().all(|sample| *sample == 0.0), "{name}");
    }
    // One channel is another's negative but for a tone of its own, 20 dB below.
    let sound = audio::read(&fixture("nearly-cancels.ogg")).unwrap();
    assert!(sound.samples.iter().any(|sample| sample.abs() > 0.01));
}

#[test]
fn longer_than_the_limit_is_refused_before_it_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("long.wav");
    let mut header = bytes("pcm-8bit-8000Hz-mono.wav")[..44].to_vec();
    let n_frames = 8_000 * u64::from(audio::MAX_DURATION_S) + 1;
    header[40..44].copy_from_slice(&(n_frames as u32).to_le_bytes());
    fs::write(&path, &header).unwrap();
    File::options().write(true).open(&path).unwrap().set_len(44 + n_frames).unwrap();
    let (_, expected, found) = refusal(audio::read(&path), "long.wav");
    assert_eq!(expected, "at most 2 hours in one file, 57600000 frames at 8000 Hz");
    assert!(found.starts_with("57600001 or more; cut it: ffmpeg"), "{found}");
}

#[test]
fn wav_info_tells_what_read_decodes() {
    for (name, sample_rate, channels, _) in EXACT.into_iter().filter(|row| row.0.ends_with(".wav")) {
        let info = audio::wav_info(&fixture(name)).unwrap();
        assert_eq!(
            (info.sample_rate, usize::from(info.channels), info.n_frames),
            (sample_rate, channels, 256),
            "{name}"
        );
    }
    assert_eq!(audio::wav_info(&fixture("pcm-24bit-48000Hz-stereo.wav")).unwrap().bits_per_sample, 24);
}

#[test]
fn wav_info_misses_no_cut() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.wav");
    let whole = bytes("pcm-16bit-44100Hz-mono.wav");
    for len in 0..whole.len() {
        fs::write(&path, &whole[..len]).unwrap();
        assert!(matches!(audio::wav_info(&path), Err(Error::Audio { .. })), "{len} bytes");
    }
}

#[test]
fn every_16_bit_value_survives_writing_and_reading() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ramp.wav");
    audio::write_wav(&path, &ramp()).unwrap();
    assert_eq!(audio::read(&path).unwrap(), ramp());
    assert_eq!(fs::read(&path).unwrap(), audio::wav_bytes(&ramp()).unwrap());
}

#[test]
fn what_does_not_fit_16_bits_is_rounded_and_clipped() {
    let step = 1.0 / 32_768.0;
    let waveform =
        Waveform { samples: vec![1.0, 7.0, -1.0, -7.0, 0.4 * step, 0.6 * step, -0.6 * step], sample_rate: 8_000 };
    let back = audio::decode(&audio::wav_bytes(&waveform).unwrap(), Path::new("a.wav")).unwrap();
    assert_eq!(back.samples, [1.0 - step, 1.0 - step, -1.0, -1.0, 0.0, step, -step]);
}

#[test]
fn a_failed_write_leaves_the_old_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.wav");
    audio::write_wav(&path, &ramp()).unwrap();
    let bad = Waveform { samples: vec![0.0, f32::NAN], sample_rate: 8_000 };
    assert!(matches!(audio::write_wav(&path, &bad), Err(Error::Audio { .. })));
    assert_eq!(audio::read(&path).unwrap(), ramp());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_folder_and_a_missing_file_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(audio::read(folder.path()), Err(Error::Audio { .. })));
    assert!(matches!(audio::read(&folder.path().join("no-such.wav")), Err(Error::Io { .. })));
}

#[test]
fn duration_is_frames_over_rate() {
    assert_eq!(Waveform { samples: vec![0.0; 1_600], sample_rate: 16_000 }.duration_s(), 0.1);
}
