//! Scores with their intervals, and what they follow from.

use std::collections::BTreeMap;

use audio_transformer::config::Config;
use audio_transformer::internals::training::start;
use audio_transformer::{Evaluation, Interval};

use crate::Outcome;

/// What a result follows from; the weights that training starts from among it, which may be made anew.
pub fn made_with(config: &Config) -> Outcome<String> {
    let from = start::fingerprint(config.train.start);
    Ok(serde_json::to_string(&(&config.clip, &config.features, &config.model, &config.train, from))?)
}

/// The share of right answers, with its interval.
pub fn share(evaluation: &Evaluation) -> String {
    let clips = evaluation.clips.iter();
    let interval =
        Interval::clustered(clips.map(|clip| (recording(&clip.filename), f64::from(u8::from(clip.is_right())))));
    format!("{:.1} % ({:.1} to {:.1})", 100.0 * evaluation.accuracy(), 100.0 * interval.low, 100.0 * interval.high)
}

/// One's accuracy over the other's, their difference, and its 95 % interval over recordings that both were scored on.
pub fn beside(one: &Evaluation, other: &Evaluation) -> Outcome<(f64, f64, Interval)> {
    let right = |evaluation: &Evaluation| -> BTreeMap<String, f64> {
        evaluation.clips.iter().map(|clip| (clip.filename.clone(), f64::from(u8::from(clip.is_right())))).collect()
    };
    let (of_one, of_other) = (right(one), right(other));
    if !of_one.keys().eq(of_other.keys()) {
        return Err("two settings were scored on different clips".into());
    }
    let by = of_one.iter().zip(of_other.values()).map(|((name, one), other)| (recording(name), one - other));
    let within = Interval::clustered(by);
    Ok((one.accuracy() / other.accuracy(), one.accuracy() - other.accuracy(), within))
}

/// The recording that a clip was cut from where its name says so as ESC-50's do, fold-recording-take-class; else the clip.
fn recording(filename: &str) -> &str {
    let stem = filename.rsplit('/').next().unwrap_or(filename);
    match stem.split('-').collect::<Vec<_>>()[..] {
        [_, recording, _, _] => recording,
        _ => filename,
    }
}
