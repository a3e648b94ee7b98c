//! What players and tables keep, whatever text they hold.
#![cfg(feature = "pipeline")]

use audio_transformer::show::html::{self, Cell, Html};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

const HOSTILE: &str = "<script>alert('a\"b')</script> & \u{7}\nEVCXR_END_CONTENT\n";

#[test]
fn hostile_labels_stay_text_in_html() {
    let cells =
        vec![HOSTILE.into(), Cell::Number(HOSTILE.into()), Cell::Right(HOSTILE.into()), Cell::Wrong(HOSTILE.into())];
    let pieces = [
        Html::text(HOSTILE),
        html::audio_player(&[0.0; 16], 16_000, HOSTILE).unwrap(),
        html::table(&[HOSTILE], &[cells], HOSTILE),
    ];
    let all = html::card(HOSTILE, &[html::row(&pieces), html::grid(2, &pieces), html::grid(0, &pieces)]);
    assert!(!all.as_str().contains("<script"));
    assert!(all.as_str().lines().all(|line| line != "EVCXR_END_CONTENT"));
    roxmltree::Document::parse(all.as_str()).unwrap();
}

#[test]
fn a_player_carries_the_samples_as_a_16_bit_wav() {
    let samples = [0.0, 0.5, -0.5, 1.0, -1.0, 1.5];
    let player = html::audio_player(&samples, 16_000, "a clip").unwrap();
    let (_, data) = player.as_str().split_once("data:audio/wav;base64,").unwrap();
    let wav = STANDARD.decode(data.split_once('"').unwrap().0).unwrap();
    let mut reader = hound::WavReader::new(wav.as_slice()).unwrap();
    let spec = reader.spec();
    assert_eq!((spec.channels, spec.sample_rate, spec.bits_per_sample), (1, 16_000, 16));
    let decoded: Vec<f32> = reader.samples::<i16>().map(|sample| f32::from(sample.unwrap()) / 32_768.0).collect();
    for (sample, decoded) in samples.iter().zip(&decoded) {
        assert!((sample.clamp(-1.0, 1.0) - decoded).abs() < 1e-4, "{sample} became {decoded}");
    }
    assert!(player.as_str().contains("<audio controls"));
}

#[test]
fn a_player_of_a_long_recording_has_its_beginning_and_says_so() {
    let player = html::audio_player(&vec![0.1; 16_000 * 600], 16_000, "ten minutes").unwrap();
    assert!(player.as_str().len() < 1_100_000);
    assert!(player.as_str().contains("ten minutes (the first 24 of 600.0 s)"));
}

#[test]
fn numbers_stand_right_words_left_and_verdicts_are_marked() {
    let rows = [
        vec!["dog".into(), Cell::prediction("dog", "dog"), Cell::number(-0.5, 2)],
        vec![Cell::prediction("cat", "dog")],
    ];
    let table = html::table(&["actual", "predicted", "score"], &rows, "");
    let table = roxmltree::Document::parse(table.as_str()).unwrap();
    let cells: Vec<_> = table.descendants().filter(|node| node.has_tag_name("td")).collect();
    assert_eq!(cells.len(), 6, "a short row is filled up");
    let reads =
        |i: usize| cells[i].descendants().filter_map(|node| node.is_text().then(|| node.text())?).collect::<String>();
    assert!(cells[0].attribute("style").unwrap().starts_with("text-align:left"));
    assert!(cells[2].attribute("style").unwrap().starts_with("text-align:right"));
    assert!(reads(1).contains('✓') && reads(3).contains('✗'));
    assert_eq!(reads(2), "−0.50");
}
