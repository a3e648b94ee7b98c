//! Claims about a person's own sounds: any folder, table or archive goes from the files to spectrograms.

use std::fs;
use std::path::{Path, PathBuf};

use audio_transformer::config::{ClipConfig, Config, DataConfig, DataSource, LongClips, Preset};
use audio_transformer::internals::dataset::acquire::{acquire, open_catalog, root};
use audio_transformer::internals::dataset::metadata::{self, METADATA_FILE, ProcessedClip};
use audio_transformer::internals::dataset::preprocess::{clips_of, preprocess_with};
use audio_transformer::internals::front_end::audio::{Waveform, wav_bytes};
use audio_transformer::{Error, Severity, checkup, demo, propose};
use tempfile::TempDir;

/// A folder with stages of its own, and no data set yet.
struct Case {
    folder: TempDir,
}

impl Case {
    fn new() -> Self {
        Case { folder: TempDir::new().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn config(&self, source: DataSource) -> Config {
        let data = DataConfig {
            source,
            raw_dir: self.path("data/raw"),
            metadata_path: None,
            processed_dir: self.path("data/processed"),
            test_dir: self.path("data/test"),
            models_dir: self.path("data/models"),
            demo_clips_per_fold: 1,
            ..Default::default()
        };
        Config { data, ..Default::default() }
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }
}

/// A WAV of a tone.
fn tone(duration_s: f64, sample_rate: u32) -> Vec<u8> {
    let n_samples = (duration_s * f64::from(sample_rate)).round() as usize;
    let phase = |index: usize| index as f32 * 440.0 / sample_rate as f32 * std::f32::consts::TAU;
    let samples = (0..n_samples).map(|index| 0.5 * phase(index).sin()).collect();
    wav_bytes(&Waveform { samples, sample_rate }).unwrap()
}

/// Copies a file of the decoder's tests.
fn fixture(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/audio").join(name)).unwrap()
}

fn names(failed: &[(String, Error)]) -> Vec<&str> {
    failed.iter().map(|(name, _)| name.as_str()).collect()
}

fn processed(config: &Config) -> Vec<ProcessedClip> {
    metadata::read(&config.data.processed_dir.join(METADATA_FILE)).unwrap()
}

fn demo_is_made(case: &Case) {
    let catalog = acquire(&case.config(DataSource::Demo)).unwrap();
    assert_eq!(catalog.clips.len(), 50);
}

fn listing(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Three classes, of three recordings each, in five formats at six rates from 0.3 to 12 s; one is broken, one of no class.
fn mixed_folder(case: &Case) -> PathBuf {
    for (name, content) in [
        ("hum/low.wav", tone(0.3, 8_000)),
        ("hum/long.WAV", tone(12.0, 44_100)),
        ("hum/deep/er.flac", fixture("flac-24bit-96000Hz-mono.flac")),
        ("ring/a.ogg", fixture("vorbis-44100Hz-stereo.ogg")),
        ("ring/b.mp3", fixture("mp3-22050Hz-mono-vbr.mp3")),
        ("ring/broken.wav", tone(1.0, 16_000)[..20_000].to_vec()),
        ("rush/a.m4a", fixture("aac-16000Hz-mono.m4a")),
        ("rush/b.wav", fixture("pcm-24bit-48000Hz-stereo.wav")),
        ("rush/mislabelled.wav", fixture("mp3-44100Hz-stereo.mp3")),
        ("stray.wav", tone(0.3, 8_000)),
    ] {
        case.write(&format!("sounds/{name}"), content);
    }
    case.path("sounds")
}

#[test]
fn a_folder_of_mixed_lengths_rates_and_formats_becomes_spectrograms_of_one_shape() {
    let case = Case::new();
    let config = case.config(DataSource::Folder(mixed_folder(&case)));
    let catalog = acquire(&config).unwrap();
    assert_eq!(catalog.labels(), ["hum", "ring", "rush"]);
    assert_eq!(catalog.clips.len(), 9, "a broken file keeps its row, a stray one has none");
    assert_eq!(catalog.folds(), [1, 2, 3], "as many folds as the smallest class has recordings");
    assert_eq!(open_catalog(&config).unwrap().clips, catalog.clips);

    let report = preprocess_with(&config, 2).unwrap();
    assert_eq!((report.computed, report.spectrograms), (8, 8));
    assert_eq!(names(&report.failed), ["ring/broken.wav"]);
    let clips = processed(&config);
    assert!(clips.iter().all(|clip| (clip.n_mels, clip.n_frames) == (64, 313)), "{clips:?}");
    for clip in &clips {
        let raw = catalog.clips.iter().find(|raw| raw.filename == clip.filename).unwrap();
        assert_eq!((clip.fold, clip.target, &clip.category), (raw.fold, raw.target, &raw.category));
    }
}

#[test]
fn windows_of_a_long_recording_share_its_fold_and_reach_its_end() {
    let case = Case::new();
    let mut config = case.config(DataSource::Folder(mixed_folder(&case)));
    config.clip.long_clips = LongClips::Windows;
    acquire(&config).unwrap();
    assert_eq!(preprocess_with(&config, 2).unwrap().spectrograms, 10);
    let clips = processed(&config);
    let long: Vec<&ProcessedClip> = clips.iter().filter(|clip| clip.filename == "hum/long.WAV").collect();
    assert_eq!(long.iter().map(|clip| clip.start_s).collect::<Vec<_>>(), [0.0, 5.0, 7.0]);
    assert!(long.iter().all(|clip| clip.fold == long[0].fold && clip.n_frames == 313));
}

#[test]
fn windows_lose_no_sample_and_a_crop_keeps_the_start() {
    let sample_rate = 1_000;
    for n in [1_usize, 999, 1_000, 1_001, 1_999, 2_000, 2_001, 5_432] {
        let samples: Vec<f32> = (0..n).map(|index| 1.0 + index as f32).collect();
        let clips = |long_clips| -> Vec<(f32, Vec<f32>)> {
            let config = ClipConfig { duration_s: 1.0, long_clips };
            clips_of(&samples, sample_rate, &config).map(|(start_s, clip)| (start_s, clip.into_owned())).collect()
        };

        let mut padded = samples[..n.min(1_000)].to_vec();
        padded.resize(1_000, 0.0);
        assert_eq!(clips(LongClips::Crop), [(0.0, padded.clone())], "{n} samples");

        let windows = clips(LongClips::Windows);
        assert_eq!(windows.len(), n.div_ceil(1_000), "{n} samples");
        if n <= 1_000 {
            assert_eq!(windows, [(0.0, padded)]);
            continue;
        }
        let mut covered = 0;
        for (start_s, window) in &windows {
            let start = (start_s * sample_rate as f32).round() as usize;
            assert!(start <= covered, "a gap before {start} of {n}");
            assert_eq!(window[..], samples[start..start + 1_000], "{n} samples");
            covered = start + 1_000;
        }
        assert_eq!(covered, n, "the last window ends with the recording");
    }
}

#[test]
fn a_folder_where_nothing_can_be_read_is_told_before_preprocessing() {
    let case = Case::new();
    for name in ["hum/a.wav", "ring/a.wav"] {
        case.write(&format!("sounds/{name}"), b"RIFF");
    }
    let error = acquire(&case.config(DataSource::Folder(case.path("sounds")))).unwrap_err();
    assert!(matches!(error, Error::Dataset { .. }), "{error}");
    assert!(error.to_string().contains("hum/a.wav"), "{error}");
    assert!(case.path("sounds/hum/a.wav").is_file());
}

#[cfg(feature = "download")]
#[test]
fn an_archive_of_class_folders_becomes_spectrograms_and_is_unpacked_once() {
    use flate2::{Compression, write::GzEncoder};

    let case = Case::new();
    let sounds = mixed_folder(&case);
    let archive = case.path("my sounds.tar.gz");
    let gzip = GzEncoder::new(fs::File::create(&archive).unwrap(), Compression::fast());
    let mut tar = tar::Builder::new(gzip);
    tar.append_dir_all("sounds", &sounds).unwrap();
    tar.into_inner().unwrap().finish().unwrap();

    let config = case.config(DataSource::Archive(archive.clone()));
    let catalog = acquire(&config).unwrap();
    assert_eq!((catalog.labels().len(), catalog.clips.len()), (3, 9));
    let folders = listing(&case.path("data/raw"));
    assert!(folders.len() == 1 && folders[0].starts_with("my_sounds-"), "{folders:?}");
    assert_eq!(preprocess_with(&config, 2).unwrap().computed, 8);

    fs::remove_file(&archive).unwrap();
    assert_eq!(acquire(&config).unwrap().clips, catalog.clips);
}

#[test]
fn a_table_may_list_part_of_a_folder_that_also_holds_the_demo() {
    let case = Case::new();
    demo_is_made(&case);
    for name in ["a", "b", "c", "unlisted"] {
        case.write(&format!("data/raw/mine/{name}.wav"), tone(0.2, 16_000));
    }
    case.write("data/raw/mine/broken.wav", "");
    let rows = "filename,category\nmine/a.wav,hum\nmine/b.wav,hum\nmine/c.wav,ring\nmine/broken.wav,ring\n";
    let table = case.write("my.csv", rows);
    let mut config = case.config(DataSource::Demo);
    config.data.metadata_path = Some(table);
    let catalog = acquire(&config).unwrap();
    assert_eq!(catalog.labels(), ["hum", "ring"]);
    assert_eq!(listing(&case.path("data/raw")), ["demo", "mine"]);
    let report = preprocess_with(&config, 2).unwrap();
    assert_eq!(report.computed, 3);
    assert_eq!(names(&report.failed), ["mine/broken.wav"]);
}

#[test]
fn every_address_and_archive_has_a_plain_folder_of_its_own() {
    let case = Case::new();
    let raw = case.path("data/raw");
    let names: Vec<String> = [
        "https://github.com/one/birds/archive/refs/heads/master.tar.gz",
        "https://github.com/two/birds/archive/refs/heads/master.tar.gz",
        "https://github.com/two/frogs/archive/refs/heads/master.tar.gz",
        "https://x.org/sets/download?id=1",
        "https://x.org/sets/download?id=2",
        "https://x.org/.tar.gz",
        "https://x.org/..",
        "https://x.org/a/..%2F..",
        "https://me:password@x.org",
        "https://x.org/demo.tar.gz",
        "https://x.org/ESC-50-master.tar.gz",
        "one/master.tar.gz",
        "two/master.tar.gz",
        ".tar.gz",
    ]
    .into_iter()
    .map(|source| {
        let root = root(&case.config(DataSource::parse(source)));
        assert_eq!(root.parent(), Some(raw.as_path()), "{source}");
        root.file_name().unwrap().to_str().unwrap().to_owned()
    })
    .collect();
    for (index, name) in names.iter().enumerate() {
        assert!(!names[..index].contains(name), "{name} twice");
        assert!(!name.starts_with('.') && name != "demo" && name != "ESC-50-master", "{name}");
        assert!(!name.contains("password"), "{name}");
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        assert!(name.chars().all(is_plain), "{name}");
    }
    assert!(names[0].starts_with("birds-master-") && names[2].starts_with("frogs-master-"), "{names:?}");
    let again = root(&case.config(DataSource::parse("./one/master.tar.gz")));
    assert!(again.ends_with(&names[11]), "{again:?}");
}

#[test]
fn a_folder_that_is_not_there_is_told_with_what_dataset_may_be() {
    let case = Case::new();
    fs::create_dir_all(case.path("empty")).unwrap();
    let mut by_table = case.config(DataSource::Demo);
    by_table.data.metadata_path = Some(case.write("my.csv", "filename,category\na.wav,hum\nb.wav,ring\n"));
    let folder = |name| case.config(DataSource::Folder(case.path(name)));
    for (config, words) in [(folder("esc-50"), "esc-50"), (folder("empty"), "empty"), (by_table, "data/raw")] {
        for result in [acquire(&config), open_catalog(&config)] {
            let error = result.unwrap_err();
            assert!(matches!(error, Error::Dataset { .. }), "{error}");
            let message = error.to_string();
            assert!(message.contains(words) && !message.contains("Download and verify"), "{message}");
            assert!(message.contains("demo, esc10, esc50, a folder, a table, a .tar.gz archive or a URL"), "{message}");
        }
    }
}

#[test]
fn a_table_that_is_not_there_is_told_by_name() {
    let case = Case::new();
    case.write("data/raw/a.wav", tone(0.2, 16_000));
    let mut config = case.config(DataSource::Demo);
    config.data.metadata_path = Some(case.path("my.csv"));
    let error = acquire(&config).unwrap_err();
    assert!(matches!(&error, Error::Io { path, .. } if path.ends_with("my.csv")), "{error}");
}

#[test]
fn an_empty_folder_in_raw_dir_counts_as_missing() {
    let case = Case::new();
    let config = case.config(DataSource::Esc50);
    fs::create_dir_all(case.path("data/raw/ESC-50-master")).unwrap();
    let error = open_catalog(&config).unwrap_err();
    assert!(matches!(error, Error::StageMissing { .. }), "{error}");
}

#[cfg(feature = "pipeline")]
#[test]
fn an_unreadable_recording_does_not_keep_the_others_from_being_shown() {
    use audio_transformer::internals::front_end::audio;
    use audio_transformer::show;

    let dir = tempfile::tempdir().unwrap();
    for class in ["bark", "rain"] {
        let folder = dir.path().join("sounds").join(class);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("a.wav"), b"no sound at all").unwrap();
        for name in ["b.wav", "c.wav"] {
            let samples = (0..16_000).map(|index| (index as f32 * 0.3).sin()).collect();
            audio::write_wav(&folder.join(name), &Waveform { samples, sample_rate: 16_000 }).unwrap();
        }
    }
    let mut config = Config::default();
    config.data.source = DataSource::Folder(dir.path().join("sounds"));
    let catalog = open_catalog(&config).unwrap();
    let tiles = show::classes(&config, &catalog).unwrap();
    assert_eq!(tiles.as_str().matches("<img").count(), 2, "a picture of each class");
    let first = show::clip(&config, &catalog, 0).unwrap();
    assert!(first.as_str().contains("bark/a.wav") && first.as_str().contains("Replace this file"), "{first:?}");
    assert!(show::clip(&config, &catalog, 1).unwrap().as_str().contains("<audio"));
}

/// Short noises of two classes, six of each, at 22.05 kHz.
fn short_noises(case: &Case) -> PathBuf {
    for (target, class) in [(6, "crackle"), (8, "noise")] {
        for take in 0..6 {
            let mut sound = demo::synthesize(0, target, 1, take, 0);
            let loudest = sound.samples.len() / 2;
            sound.samples = sound.samples[loudest - 8_000..loudest + 8_000].to_vec();
            case.write(&format!("s/{class}/{take}.wav"), wav_bytes(&sound).unwrap());
        }
    }
    case.path("s")
}

#[test]
fn settings_are_proposed_for_a_folder_and_each_has_its_reason() {
    let case = Case::new();
    let root = short_noises(&case);
    let settings = Config { data: case.config(DataSource::Folder(root)).data, ..Preset::Fitted.settings() };
    let proposal = propose(Preset::Fitted, &settings).unwrap();
    assert_eq!(proposal.config.data, settings.data);
    // 16,000 samples at 44.1 kHz are 0.36 s.
    assert!((0.36..0.5).contains(&proposal.config.clip.duration_s), "{:?}", proposal.config.clip);
    assert_eq!(proposal.config.features.hop_length, 40, "no closer than 2.5 ms");
    assert!(proposal.choices.iter().all(|choice| !choice.reason.is_empty() && !choice.value.is_empty()));
    let names: Vec<&str> = proposal.choices.iter().map(|choice| choice.setting).collect();
    assert!(names.contains(&"train.minutes") && names.contains(&"clip.duration_s"), "{names:?}");
    // What is proposed goes through.
    preprocess_with(&proposal.config, 2).unwrap();

    let mut by_hand = settings.clone();
    by_hand.features.hop_length = 100;
    let proposal = propose(Preset::Fitted, &by_hand).unwrap();
    assert_eq!(proposal.config.features.hop_length, 100);
    assert!(proposal.choices.iter().any(|choice| choice.reason == "set by hand"));
    // Another preset stays as it is.
    let good = Config { data: settings.data.clone(), ..Preset::Good.settings() };
    assert_eq!(propose(Preset::Good, &good).unwrap().config, good);
    assert_eq!(Preset::of(&settings.data), Preset::Fitted);
}

#[test]
fn nothing_but_silence_has_no_settings() {
    let case = Case::new();
    for name in ["a/1", "a/2", "b/1", "b/2"] {
        let silence = Waveform { samples: vec![0.0; 8_000], sample_rate: 8_000 };
        case.write(&format!("s/{name}.wav"), wav_bytes(&silence).unwrap());
    }
    let data = case.config(DataSource::Folder(case.path("s"))).data;
    let error = propose(Preset::Fitted, &Config { data, ..Preset::Fitted.settings() }).map(drop).unwrap_err();
    assert!(matches!(&error, Error::Dataset { found, .. } if found == "none of 4"), "{error}");
}

#[test]
fn the_check_up_finds_what_was_planted_and_nothing_else() {
    let case = Case::new();
    let root = short_noises(&case);
    let look = || checkup(&open_catalog(&case.config(DataSource::Folder(root.clone()))).unwrap()).findings;
    assert_eq!(look(), []);
    // A louder copy in another class, a silent file, and one that is no sound.
    let mut copy = demo::synthesize(0, 8, 1, 2, 0);
    let middle = copy.samples.len() / 2;
    copy.samples = copy.samples[middle - 8_000..middle + 8_000].iter().map(|sample| 0.4 * sample).collect();
    case.write("s/crackle/copy.wav", wav_bytes(&copy).unwrap());
    case.write("s/noise/nothing.wav", wav_bytes(&Waveform { samples: vec![0.0; 16_000], ..copy }).unwrap());
    case.write("s/noise/text.wav", b"no sound at all");
    let found = look();
    let what = |part: &str| {
        found.iter().find(|finding| finding.what.contains(part)).map(|one| (one.severity, one.what.clone()))
    };
    let (severity, text) = what("of different classes that hold the same sound").unwrap();
    assert!(
        severity == Severity::Serious && text.contains("crackle/copy.wav") && text.contains("noise/2.wav"),
        "{text}"
    );
    assert_eq!(what("are silent").unwrap().0, Severity::Warning);
    assert!(what("cannot be read").unwrap().1.ends_with("noise/text.wav"));
    assert!(found.windows(2).all(|pair| pair[0].severity <= pair[1].severity));
}
