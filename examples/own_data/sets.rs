//! The sets: what people bring, made from ESC-10's recordings.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use audio_transformer::{audio, demo};

use crate::{HOME, Outcome};

/// Clips of a class in the uneven set, class by class.
const UNEVEN: [usize; 10] = [40, 40, 40, 30, 20, 15, 10, 8, 6, 4];

/// A recording of ESC-10.
struct Recording {
    name: String,
    fold: u32,
    category: String,
    sound: audio::Waveform,
}

fn recordings(folder: &Path) -> Outcome<Vec<Recording>> {
    let mut rows = csv::Reader::from_path(folder.join("clips.csv"))?;
    let headers = rows.headers()?.clone();
    let column = |name: &str| headers.iter().position(|header| header == name).ok_or(format!("no column {name}"));
    let (filename, fold, category) = (column("filename")?, column("fold")?, column("category")?);
    let mut found = Vec::new();
    for row in rows.records() {
        let row = row?;
        let name = row[filename].trim_end_matches(".wav").to_owned();
        let mut sound = audio::read(&folder.join("ogg").join(format!("{name}.ogg")))?;
        sound.samples.resize(5 * sound.sample_rate as usize, 0.0);
        found.push(Recording { name, fold: row[fold].parse()?, category: row[category].to_owned(), sound });
    }
    Ok(found)
}

/// The loudest stretch of `length_s` seconds.
fn loudest(sound: &audio::Waveform, length_s: f64) -> audio::Waveform {
    let length = ((length_s * f64::from(sound.sample_rate)) as usize).clamp(1, sound.samples.len());
    let mut sums = vec![0.0f64];
    sums.extend(sound.samples.iter().scan(0.0, |sum, &sample| {
        *sum += f64::from(sample).powi(2);
        Some(*sum)
    }));
    let power = |start: &usize| sums[start + length] - sums[*start];
    let starts = (0..=sound.samples.len() - length).step_by(100);
    let start = starts.max_by(|a, b| power(a).total_cmp(&power(b))).unwrap_or(0);
    audio::Waveform { samples: sound.samples[start..start + length].to_vec(), sample_rate: sound.sample_rate }
}

/// A number from 0 to 1 that depends on a name alone.
fn chance(name: &str) -> f64 {
    let hash = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    (hash >> 11) as f64 / (1u64 << 53) as f64
}

fn write(set: &str, category: &str, name: &str, sound: &audio::Waveform) -> Outcome {
    let folder = Path::new(HOME).join("sets").join(set).join(category);
    fs::create_dir_all(&folder)?;
    audio::write_wav(&folder.join(format!("{name}.wav")), sound)?;
    Ok(())
}

/// Writes all sets.
pub fn make(folder: &Path) -> Outcome {
    let recordings = recordings(folder)?;
    let mut n_of_class: BTreeMap<&str, usize> = BTreeMap::new();
    let classes: BTreeSet<&String> = recordings.iter().map(|one| &one.category).collect();
    let mut rows: Vec<&Recording> = recordings.iter().collect();
    rows.sort_by(|a, b| chance(&a.name).total_cmp(&chance(&b.name)));
    let mut official = String::from("filename,category,fold\n");
    for Recording { name, category, sound, fold } in &rows {
        write("whole", category, name, sound)?;
        official.push_str(&format!("{category}/{name}.wav,{category},{fold}\n"));
        write("short", category, name, &loudest(sound, 0.4))?;
        write("mixed", category, name, &loudest(sound, 0.1 * 50f64.powf(chance(name))))?;
        let n = n_of_class.entry(category).or_default();
        *n += 1;
        if *n <= 5 {
            write("few", category, name, sound)?;
        }
        let class = classes.iter().position(|class| *class == category).unwrap_or(0);
        if *n <= UNEVEN[class % UNEVEN.len()] {
            write("uneven", category, name, sound)?;
        }
        let mut extractor = audio_transformer::Resampler::new(sound.sample_rate, 8_000)?;
        let mut low = extractor.process(&sound.samples)?;
        // A quiet recorder of 8 bits.
        low.iter_mut().for_each(|sample| *sample = (*sample * 0.25 * 128.0).round() / 128.0);
        write("quiet-rate", category, name, &audio::Waveform { samples: low, sample_rate: 8_000 })?;
    }
    fs::write(Path::new(HOME).join("sets/official.csv"), official)?;
    let mut groups: BTreeMap<(&str, u32), Vec<&Recording>> = BTreeMap::new();
    recordings.iter().for_each(|one| groups.entry((&one.category, one.fold)).or_default().push(one));
    for ((category, fold), group) in groups {
        let mut samples = Vec::new();
        for one in group.iter().take(5) {
            samples.extend_from_slice(&one.sound.samples);
            samples.extend(vec![0.0; one.sound.sample_rate as usize]);
        }
        write(
            "long",
            category,
            &format!("day-{fold}"),
            &audio::Waveform { samples, sample_rate: group[0].sound.sample_rate },
        )?;
    }
    for class in 0..10 {
        for take in 0..8 {
            let sound = demo::synthesize(0, class, 1 + take as u32 % 5, take, 0);
            write("demo", &format!("sound {class}"), &format!("take-{take}"), &sound)?;
        }
    }
    many(&recordings)?;
    println!("{HOME}/sets: whole, short, mixed, long, few, uneven, quiet-rate, many, demo");
    Ok(())
}

/// 3,000 pieces of half a second with a table that tells which recording each was cut from.
fn many(recordings: &[Recording]) -> Outcome {
    let mut table = String::from("filename,category,source\n");
    let mut n = 0;
    for Recording { name, category, sound, .. } in recordings {
        let length = sound.sample_rate as usize / 2;
        for (place, piece) in sound.samples.chunks_exact(length).enumerate() {
            // What is left of a recording behind its end is silence.
            if n == 3_000 || piece.iter().all(|sample| sample.abs() < 0.001) {
                continue;
            }
            n += 1;
            let file = format!("{name}-{place}");
            write("many", category, &file, &audio::Waveform { samples: piece.to_vec(), ..*sound })?;
            table.push_str(&format!("{category}/{file}.wav,{category},{name}\n"));
        }
    }
    fs::write(Path::new(HOME).join("sets/many/metadata.csv"), table)?;
    Ok(())
}
