//! The front end and the network of the crate for a page: bytes in, JSON out.
//!
//! The page puts bytes into memory from [`reserve`], calls [`load`], then [`hear_file`] or [`hear_samples`], and reads the answer from
//! [`answer`] and [`answer_len`]. Every call that fails leaves `{"error": …}` as the answer.

use std::cell::RefCell;
use std::path::Path;

use audio_transformer::audio::{self, Waveform};
use audio_transformer::{FeatureExtractor, OnnxClassifier, Prediction};
use serde_json::{Value, json};

/// What is kept between calls. A page has one thread.
#[derive(Default)]
struct Page {
    network: Option<OnnxClassifier>,
    extractor: Option<FeatureExtractor>,
    answer: String,
}

thread_local! {
    static PAGE: RefCell<Page> = RefCell::default();
}

/// Memory of so many bytes for the page to write into. The next call that takes it gives it back.
#[unsafe(no_mangle)]
pub extern "C" fn reserve(len: usize) -> *mut u8 {
    // Aligned as samples are.
    let words = vec![0u32; len.div_ceil(4)].into_boxed_slice();
    Box::into_raw(words).cast()
}

/// What [`reserve`] gave, as words.
///
/// # Safety
/// `bytes` comes from [`reserve`] with the same `len`, once.
unsafe fn taken(bytes: *mut u8, len: usize) -> Box<[u32]> {
    let words = std::ptr::slice_from_raw_parts_mut(bytes.cast::<u32>(), len.div_ceil(4));
    unsafe { Box::from_raw(words) }
}

fn bytes_of(words: &[u32], len: usize) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).take(len).collect()
}

/// Reads the network, an ONNX file that `export` wrote. The answer holds what it says about itself.
///
/// # Safety
/// `bytes` comes from [`reserve`] with the same `len`, once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn load(bytes: *mut u8, len: usize) {
    let words = unsafe { taken(bytes, len) };
    answer_with(|page| {
        let network = OnnxClassifier::parse(bytes_of(&words, len))
            .map_err(|(expected, found)| format!("expected {expected}, found {found}"))?;
        let info = network.info();
        let extractor = FeatureExtractor::new(&info.settings.features).map_err(|error| error.to_string())?;
        let told = json!({
            "labels": info.labels,
            "dataset": info.dataset,
            "clip_s": info.settings.clip.duration_s,
            "sample_rate": info.settings.features.sample_rate,
            "recordings": info.seen_sources.len(),
            "calibrated": info.calibration.is_some(),
        });
        (page.network, page.extractor) = (Some(network), Some(extractor));
        Ok(told)
    });
}

/// Classifies a file of any format the crate reads.
///
/// # Safety
/// As [`load`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hear_file(bytes: *mut u8, len: usize) {
    let words = unsafe { taken(bytes, len) };
    answer_with(|page| {
        let sound = audio::decode(&bytes_of(&words, len), Path::new("the file")).map_err(|error| error.to_string())?;
        hear(page, &sound)
    });
}

/// Classifies `len` bytes of mono samples, 32-bit floats.
///
/// # Safety
/// As [`load`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hear_samples(bytes: *mut u8, len: usize, sample_rate: u32) {
    let words = unsafe { taken(bytes, len) };
    answer_with(|page| {
        let samples = words.iter().map(|word| f32::from_bits(*word)).collect();
        hear(page, &Waveform { samples, sample_rate })
    });
}

/// Where the answer lies, UTF-8.
#[unsafe(no_mangle)]
pub extern "C" fn answer() -> *const u8 {
    PAGE.with_borrow(|page| page.answer.as_ptr())
}

/// Its length in bytes.
#[unsafe(no_mangle)]
pub extern "C" fn answer_len() -> usize {
    PAGE.with_borrow(|page| page.answer.len())
}

fn answer_with(call: impl FnOnce(&mut Page) -> Result<Value, String>) {
    PAGE.with_borrow_mut(|page| {
        page.answer = call(page).unwrap_or_else(|error| json!({ "error": error })).to_string();
    });
}

fn hear(page: &mut Page, sound: &Waveform) -> Result<Value, String> {
    let (Some(network), Some(extractor)) = (&mut page.network, &mut page.extractor) else {
        return Err("no network is loaded".into());
    };
    let prediction = network.predict(sound, Path::new("sound")).map_err(|error| error.to_string())?;
    let samples = extractor.resample(&sound.samples, sound.sample_rate).map_err(|error| error.to_string())?;
    let rate = network.info().settings.features.sample_rate;
    let spectrogram = extractor.extract(&samples, rate).map_err(|error| error.to_string())?;
    let (n_mels, n_frames) = spectrogram.values.dim();
    let (scale, top_db) = (&spectrogram.scale, network.info().settings.features.top_db);
    // Levels from the quietest shown to the loudest as 0 to 255.
    let level = |value: &f32| {
        let db = value * scale.std_db + scale.mean_db;
        (255.0 * (1.0 + db / top_db).clamp(0.0, 1.0)) as u8
    };
    let pixels: Vec<u8> = spectrogram.values.iter().map(level).collect();
    Ok(told(&prediction, json!({ "n_mels": n_mels, "n_frames": n_frames, "pixels": pixels })))
}

fn told(prediction: &Prediction, spectrogram: Value) -> Value {
    let ranked = prediction.ranked.iter();
    json!({
        "name": prediction.name(),
        "standing": prediction.standing.word(),
        "why": prediction.standing.to_string(),
        "duration_s": prediction.duration_s,
        "ranked": ranked.map(|(label, probability)| json!([label, probability])).collect::<Vec<_>>(),
        "timeline": prediction.timeline.iter().map(|window| json!({
            "start_s": window.start_s, "end_s": window.end_s, "probabilities": window.probabilities,
            "standing": window.standing.word(),
        })).collect::<Vec<_>>(),
        "spectrogram": spectrogram,
    })
}
