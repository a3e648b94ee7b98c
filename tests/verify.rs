//! Claims about holding a data set against its table.

use std::fs;
use std::path::Path;

use audio_transformer::Error;
use audio_transformer::internals::dataset::catalog::Catalog;
use audio_transformer::internals::dataset::verify::{ESC50_WAV, survey, verify};
use audio_transformer::internals::front_end::audio::{Waveform, wav_bytes};
use tempfile::TempDir;

fn wav(n_frames: usize, sample_rate: u32) -> Vec<u8> {
    wav_bytes(&Waveform { samples: vec![0.0; n_frames], sample_rate }).unwrap()
}

/// Ten rows, `0.wav` to `9.wav`, and as many files in the ESC-50 format.
fn data_set() -> (TempDir, Catalog) {
    let folder = TempDir::new().unwrap();
    let mut table = String::from("filename,category\n");
    for index in 0..10 {
        table += &format!("{index}.wav,{}\n", ["hiss", "rush"][index % 2]);
        fs::write(folder.path().join(format!("{index}.wav")), wav(220_500, 44_100)).unwrap();
    }
    fs::write(folder.path().join("clips.csv"), table).unwrap();
    let catalog = Catalog::open(folder.path()).unwrap();
    (folder, catalog)
}

#[track_caller]
fn faults(catalog: &Catalog, words: &[&str]) {
    let error = verify(catalog, Some(ESC50_WAV)).expect_err("a fault");
    assert!(matches!(error, Error::Dataset { .. }), "{error}");
    for word in words {
        assert!(error.to_string().contains(word), "no {word:?} in: {error}");
    }
}

fn write(folder: &TempDir, name: impl AsRef<Path>, bytes: &[u8]) {
    fs::write(folder.path().join(name), bytes).unwrap();
}

#[test]
fn a_whole_data_set_is_counted() {
    let (folder, catalog) = data_set();
    let report = verify(&catalog, Some(ESC50_WAV)).unwrap();
    assert_eq!((report.clips, report.num_classes, report.folds, report.wavs), (10, 2, 5, 10));
    write(&folder, "notes.txt", b"not audio");
    assert_eq!(verify(&catalog, None).unwrap(), report);
}

#[test]
fn a_row_without_a_file_and_a_file_without_a_row_are_named() {
    let (folder, catalog) = data_set();
    fs::remove_file(folder.path().join("3.wav")).unwrap();
    write(&folder, "stray.flac", b"");
    faults(&catalog, &["2 that differ", "3.wav (a row without a file)", "stray.flac (a file without a row)"]);
}

#[test]
fn a_file_that_is_no_whole_wav_is_named_with_the_reason() {
    let (folder, catalog) = data_set();
    let whole = wav(220_500, 44_100);
    write(&folder, "1.wav", &whole[..whole.len() / 2]);
    write(&folder, "2.wav", b"");
    write(&folder, "3.wav", b"<html>not a sound, though as long as a header has to be</html>");
    faults(&catalog, &["3 that differ: 1.wav (expected", "; 2.wav (", "; 3.wav ("]);
}

#[test]
fn another_rate_width_or_length_is_named_with_both() {
    let (folder, catalog) = data_set();
    write(&folder, "1.wav", &wav(220_500, 48_000));
    write(&folder, "2.wav", &wav(220_499, 44_100));
    faults(&catalog, &["2 that differ", "44100 Hz, found", "48000 Hz", "220499 frames"]);
    assert_eq!(verify(&catalog, None).unwrap().wavs, 10);
}

#[test]
fn many_faults_are_counted_and_the_first_named() {
    let (folder, catalog) = data_set();
    for index in 0..8 {
        fs::remove_file(folder.path().join(format!("{index}.wav"))).unwrap();
    }
    faults(&catalog, &["8 that differ: 0.wav", "4.wav", "; and 3 more"]);
    let error = verify(&catalog, None).unwrap_err().to_string();
    assert!(!error.contains("5.wav"), "{error}");
}

#[test]
fn other_formats_are_left_to_the_decoder_unless_wavs_are_asked_for() {
    let folder = TempDir::new().unwrap();
    for name in ["hiss/a.flac", "rush/a.mp3"] {
        fs::create_dir_all(folder.path().join(name).parent().unwrap()).unwrap();
        write(&folder, name, b"sound");
    }
    let catalog = Catalog::open(folder.path()).unwrap();
    assert_eq!(verify(&catalog, None).unwrap().wavs, 0);
    faults(&catalog, &["2 that differ", "hiss/a.flac"]);
}

#[test]
fn a_survey_lists_what_cannot_be_read_and_counts_what_is_not_listed() {
    let (folder, catalog) = data_set();
    write(&folder, "1.wav", b"");
    fs::remove_file(folder.path().join("3.wav")).unwrap();
    write(&folder, "stray.wav", &wav(10, 8_000));
    write(&folder, "stray.FLAC", b"");
    write(&folder, ".hidden.wav", b"");
    fs::create_dir_all(folder.path().join("demo/audio")).unwrap();
    write(&folder, "demo/audio/other.wav", b"");
    let report = survey(&catalog).unwrap();
    assert_eq!((report.clips, report.wavs, report.unlisted), (10, 8, 2));
    let names: Vec<_> = report.faults.iter().map(|(file, _)| file.as_str()).collect();
    assert_eq!(names, ["1.wav", "3.wav"]);
    let told = report.to_string();
    for words in ["2 of which cannot be read", "1.wav: expected", "3.wav: a row without a file", "2 audio files among"]
    {
        assert!(told.contains(words), "no {words:?} in: {told}");
    }
}

#[test]
fn a_survey_takes_a_file_for_what_it_holds_whatever_its_name() {
    let (folder, catalog) = data_set();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/audio");
    fs::copy(fixtures.join("mp3-44100Hz-stereo.mp3"), folder.path().join("1.wav")).unwrap();
    fs::copy(fixtures.join("wma-44100Hz-mono.wma"), folder.path().join("2.wav")).unwrap();
    let report = survey(&catalog).unwrap();
    assert_eq!((report.wavs, report.faults.len()), (8, 1));
    assert_eq!(report.faults[0].0, "2.wav");
    assert!(report.faults[0].1.contains("WMA"), "{report}");
}

#[test]
fn a_survey_prints_no_more_faults_than_a_person_reads() {
    let folder = TempDir::new().unwrap();
    let mut table = String::from("filename,category\nhere.wav,hiss\n");
    for index in 0..30 {
        table += &format!("{index}.wav,rush\n");
    }
    write(&folder, "here.wav", &wav(10, 8_000));
    write(&folder, "clips.csv", table.as_bytes());
    let report = survey(&Catalog::open(folder.path()).unwrap()).unwrap();
    assert_eq!(report.faults.len(), 30);
    assert!(report.to_string().ends_with("and 10 more"), "{report}");
    assert_eq!(report.to_string().lines().count(), 22);
}

#[test]
fn a_survey_of_nothing_readable_is_an_error_that_removes_nothing() {
    let (folder, catalog) = data_set();
    for index in 0..10 {
        write(&folder, format!("{index}.wav"), b"");
    }
    let error = survey(&catalog).unwrap_err();
    assert!(matches!(error, Error::Dataset { .. }), "{error}");
    let message = error.to_string();
    assert!(message.contains("10 that cannot: 0.wav (") && message.contains("; and 5 more"), "{message}");
    assert!(!message.contains("emove"), "{message}");
}
