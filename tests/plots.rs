//! What every picture keeps, whatever it is made of, and what each one shows.
#![cfg(feature = "pipeline")]

use audio_transformer::Error;
use audio_transformer::internals::results::metrics::{Reliability, ReliabilityBin};
use audio_transformer::show::html::{self, Html};
use audio_transformer::show::plot::{self, BarStyle, Curve, MelAxes, Picture, PointGroup, Strip};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ndarray::{Array2, array};

const HOSTILE: &str = "<script>alert('a\"b')</script> & \u{7}\nEVCXR_END_CONTENT\n";

fn centers(n_mels: usize) -> Vec<f32> {
    (1..=n_mels).map(|i| 8000.0 * (i as f32 / (n_mels + 1) as f32).powi(2)).collect()
}

fn axes(n_mels: usize, duration_s: f64) -> MelAxes {
    MelAxes::new(duration_s, centers(n_mels), "dB")
}

/// Levels that never repeat for long, so that nothing is saved by chance.
fn noise(rows: usize, columns: usize) -> Array2<f32> {
    Array2::from_shape_fn((rows, columns), |(r, c)| -80.0 + ((r * 7919 + c * 104_729) % 1013) as f32 * 80.0 / 1013.0)
}

fn names(n: usize) -> Vec<String> {
    (0..n).map(|i| format!("vacuum_cleaner_{i}")).collect()
}

/// Bins of equal width from (clips, mean confidence, accuracy); the means of an empty bin are left out.
fn reliability(bins: &[(usize, f64, f64)]) -> Reliability {
    let n = bins.len() as f64;
    let bin = |(i, &(clips, confidence, accuracy)): (usize, &(usize, f64, f64))| ReliabilityBin {
        from: i as f64 / n,
        to: (i + 1) as f64 / n,
        clips,
        confidence: (clips > 0).then_some(confidence),
        accuracy: (clips > 0).then_some(accuracy),
    };
    Reliability { bins: bins.iter().enumerate().map(bin).collect(), ece: 0.063, ece_by_chance: 0.05 }
}

/// Forty values for each label.
fn spread(labels: &[String]) -> impl Iterator<Item = (String, Vec<f64>)> {
    labels.iter().map(|label| (label.clone(), (0..40).map(|i| f64::from(i * 7919 % 400) / 10.0).collect()))
}

fn timeline(title: &str, labels: &[String], n_windows: usize) -> Picture {
    let probabilities = vec![1.0 / labels.len() as f32; labels.len()];
    let windows: Vec<_> = (0..n_windows).map(|w| (5.0 * w as f64, 5.0 * (w + 1) as f64, &probabilities[..])).collect();
    plot::timeline(title, labels, &windows, &[(0.0, windows[0].1, 0)]).unwrap()
}

fn one_of_each(title: &str, labels: &[String]) -> Vec<Picture> {
    let n = labels.len();
    let samples: Vec<f32> = (0..80_000).map(|i| (i as f32 * 0.1).sin()).collect();
    let counts = Array2::from_shape_fn((n, n), |(r, c)| if r == c { 30 } else { (r + c) as u32 % 3 });
    let values: Vec<f64> = (0..n).map(|i| i as f64 / n as f64).collect();
    let style =
        BarStyle { value_label: title.into(), percent: true, reference: Some((0.1, title.into())), highlight: None };
    let strips: Vec<Strip> = spread(labels).map(|(label, values)| Strip { label, values }).collect();
    let points = |values: Vec<f64>| values.into_iter().enumerate().map(|(i, y)| (i as f64, y)).collect();
    let groups: Vec<PointGroup> =
        spread(labels).map(|(label, values)| PointGroup { label, points: points(values) }).collect();
    let runs = [Curve::per_epoch(title, &[2.3, 1.9, 1.5]), Curve::per_epoch(&labels[0], &[2.2])];
    vec![
        plot::waveform(&samples, 16_000, title).unwrap(),
        plot::mel_spectrogram(noise(64, 313).view(), &axes(64, 5.0), title).unwrap(),
        plot::mel_tile(noise(64, 313).view(), &axes(64, 5.0), title).unwrap(),
        plot::filterbank(array![[0.0, 1.0, 0.5, 0.0], [0.0, 0.0, 0.5, 1.0]].view(), &[0.0, 100.0, 200.0, 300.0])
            .unwrap(),
        plot::patches(noise(64, 64).view(), (8, 8), &axes(64, 5.0)).unwrap(),
        plot::attention(noise(64, 313).view(), &axes(64, 5.0), noise(4, 313).mapv(f32::abs).view(), title).unwrap(),
        plot::strips(title, title, &strips).unwrap(),
        plot::scatter(title, title, title, &groups).unwrap(),
        timeline(title, labels, 1440),
        plot::curves(title, "epoch", "loss", &runs).unwrap(),
        plot::confusion_matrix(counts.view(), labels).unwrap(),
        plot::bars(title, labels, &values, &style).unwrap(),
        plot::reliability(&reliability(&[(0, 0.0, 0.0), (12, 0.4, 0.5), (68, 0.9, 0.75)])).unwrap(),
    ]
}

fn texts(picture: &Picture) -> Vec<String> {
    let svg = roxmltree::Document::parse(picture.svg()).unwrap();
    let texts = svg.descendants().filter(|node| node.has_tag_name(("http://www.w3.org/2000/svg", "text")));
    texts.filter_map(|node| Some(node.text()?.trim().to_string())).collect()
}

/// The first heat map of a picture: columns, palette indices from the top, and the colours they stand for.
fn heat_map(picture: &Picture) -> (usize, Vec<u8>, Vec<[u8; 3]>) {
    let (_, data) = picture.svg().split_once("data:image/png;base64,").unwrap();
    let png = STANDARD.decode(data.split_once('"').unwrap().0).unwrap();
    let mut reader = png::Decoder::new(std::io::Cursor::new(png)).read_info().unwrap();
    let mut cells = vec![0; reader.output_buffer_size().unwrap()];
    reader.next_frame(&mut cells).unwrap();
    let palette = reader.info().palette.as_deref().unwrap().as_chunks::<3>().0.to_vec();
    (reader.info().width as usize, cells, palette)
}

fn brightness(palette: &[[u8; 3]], cell: u8) -> u32 {
    palette[cell as usize].iter().map(|&channel| u32::from(channel)).sum()
}

fn refused<T>(result: Result<T, Error>) -> String {
    match result {
        Err(error @ Error::Plot { .. }) => error.to_string(),
        Err(other) => panic!("another error: {other}"),
        Ok(_) => panic!("drawn all the same"),
    }
}

#[test]
fn every_picture_is_an_image_with_words_and_well_formed_markup() {
    for picture in one_of_each("a clip", &names(10)) {
        let html = picture.html();
        assert!(picture.alt().split_whitespace().count() >= 4, "{picture:?}");
        assert!(html.as_str().starts_with("<img alt=\""), "{picture:?}");
        assert!(html.as_str().contains("src=\"data:image/svg+xml;base64,"), "{picture:?}");
        assert!(!texts(&picture).is_empty(), "{picture:?}");
    }
}

/// Contrast on either page is tested where colours are defined; no picture has any that is not among those.
#[test]
fn every_colour_of_every_picture_has_a_rendering_on_dark_pages_or_lies_on_a_heat_map() {
    let on_heat_maps = ["#020202", "#FDFDFD"];
    for picture in one_of_each("a clip", &names(10)) {
        let svg = roxmltree::Document::parse(picture.svg()).unwrap();
        let style = svg.descendants().find(|node| node.has_tag_name(("http://www.w3.org/2000/svg", "style"))).unwrap();
        let style = style.text().unwrap();
        assert!(style.starts_with("@media (prefers-color-scheme: dark) {"), "{style}");
        for (node, attribute) in svg.descendants().flat_map(|node| ["fill", "stroke"].map(|name| (node, name))) {
            let Some(color) = node.attribute(attribute).filter(|color| *color != "none") else { continue };
            let is_rendered = style.contains(&format!("[{attribute}=\"{color}\"]"));
            assert!(is_rendered || on_heat_maps.contains(&color), "{attribute} {color} in {picture:?}");
        }
    }
}

#[test]
fn hostile_labels_stay_text_in_pictures() {
    let labels: Vec<String> = vec![HOSTILE.into(); 3];
    for picture in one_of_each(HOSTILE, &labels) {
        let svg = roxmltree::Document::parse(picture.svg()).unwrap();
        assert!(svg.descendants().all(|node| node.tag_name().name() != "script"), "{picture:?}");
        assert!(!picture.html().as_str().contains("<script"), "{picture:?}");
        assert_eq!(picture.html().as_str().matches('<').count(), 1, "{picture:?}");
        assert!(picture.html().as_str().lines().all(|line| line != "EVCXR_END_CONTENT"), "{picture:?}");
    }
}

#[test]
fn a_heat_map_is_one_image_and_not_a_shape_per_cell() {
    let spectrogram = plot::mel_spectrogram(noise(64, 313).view(), &axes(64, 5.0), "a clip").unwrap();
    let patches = plot::patches(noise(64, 64).view(), (8, 8), &axes(64, 5.0)).unwrap();
    for (picture, rest) in [(spectrogram, 32), (patches, 200)] {
        // The map and its colour bar.
        assert_eq!(picture.svg().matches("<image ").count(), 2, "{picture:?}");
        assert!(picture.svg().matches('<').count() < 2 * rest, "{picture:?}");
    }
    let matrix = plot::confusion_matrix(Array2::<u32>::eye(50).view(), &names(50)).unwrap();
    // One for a light page and one for a dark.
    assert_eq!(matrix.svg().matches("<image ").count(), 2);
}

#[test]
fn no_picture_takes_more_than_300_kb_of_the_notebook() {
    let long: Vec<f32> = (0..44_100 * 600).map(|i| ((i * 7919) % 1013) as f32 / 1013.0 - 0.5).collect();
    let steps: Vec<(f64, f64)> = (0..100_000).map(|i| (f64::from(i), f64::from(i * 7919 % 1013))).collect();
    let counts =
        Array2::from_shape_fn((50, 50), |(r, c)| if r == c { 20 } else { u32::from((r * 31 + c * 17) % 6 == 0) });
    let mut pictures = one_of_each("a clip", &names(50));
    pictures.push(plot::waveform(&long, 44_100, "ten minutes").unwrap());
    pictures.push(plot::mel_spectrogram(noise(128, 37_500).view(), &axes(128, 600.0), "ten minutes").unwrap());
    let attended = Array2::from_shape_fn((8, 37_500), |(_, frame)| if frame / 550 % 2 == 0 { 1.0 } else { 0.1 });
    pictures
        .push(plot::attention(noise(128, 37_500).view(), &axes(128, 600.0), attended.view(), "ten minutes").unwrap());
    pictures.push(plot::curves("loss", "step", "loss", &vec![Curve::new("run", steps); 12]).unwrap());
    pictures.push(plot::confusion_matrix(counts.view(), &names(50)).unwrap());
    for picture in pictures {
        assert!(picture.html().as_str().len() <= 300_000, "{} bytes: {picture:?}", picture.html().as_str().len());
    }
}

#[test]
fn a_picture_that_would_be_too_large_is_refused() {
    let bars = plot::bars("too many", &names(2000), &[0.5; 2000], &BarStyle::default());
    assert!(refused(bars).contains("at most"));
}

#[test]
fn a_loud_frame_is_brighter_than_a_silent_one_and_low_bands_lie_at_the_bottom() {
    let mut levels = Array2::from_elem((64, 313), -80.0);
    levels[[3, 200]] = 0.0;
    let picture = plot::mel_spectrogram(levels.view(), &axes(64, 5.0), "a blip").unwrap();
    let (columns, cells, palette) = heat_map(&picture);
    assert_eq!((columns, cells.len()), (313, 64 * 313));
    let loud = (63 - 3) * columns + 200;
    assert!(brightness(&palette, cells[loud]) > brightness(&palette, cells[0]) + 300);
    assert_eq!(cells.iter().filter(|&&cell| cell == cells[loud]).count(), 1);
}

#[test]
fn a_short_sound_survives_the_pooling_of_a_long_recording() {
    let mut levels = Array2::from_elem((64, 37_500), -80.0);
    levels[[10, 12_345]] = 0.0;
    let (columns, cells, _) = heat_map(&plot::mel_spectrogram(levels.view(), &axes(64, 600.0), "a click").unwrap());
    assert!(columns < 2000);
    assert_eq!(cells.iter().position(|&cell| cell == 255), Some((63 - 10) * columns + 12_345 * columns / 37_500));
}

#[test]
fn shared_limits_give_one_level_one_colour_in_two_pictures() {
    let shared = MelAxes { limits: Some((-80.0, 0.0)), ..axes(2, 1.0) };
    let loud = plot::mel_tile(array![[-40.0, 0.0], [-80.0, -80.0]].view(), &shared, "loud").unwrap();
    let quiet = plot::mel_tile(array![[-40.0, -60.0], [-70.0, -70.0]].view(), &shared, "quiet").unwrap();
    assert_eq!(heat_map(&loud).1[2], heat_map(&quiet).1[2]);
}

#[test]
fn a_spectrogram_has_seconds_hertz_and_decibels() {
    let picture = plot::mel_spectrogram(noise(64, 313).view(), &axes(64, 5.008), "a clip").unwrap();
    let texts = texts(&picture);
    for expected in ["0", "1", "5", "time (s)", "500", "1k", "2k", "4k", "8k", "frequency (Hz)", "−80", "0 dB"] {
        assert!(texts.iter().any(|text| text == expected), "{expected} is not among {texts:?}");
    }
}

#[test]
fn a_frequency_tick_stands_beside_the_band_of_that_frequency() {
    // Octaves evenly spaced: 1 kHz is the centre of band 3 of 8.
    let octaves = MelAxes::new(1.0, [125.0, 250.0, 500.0, 1000.0, 2000.0, 4000.0, 8000.0, 16_000.0], "dB");
    let picture = plot::mel_spectrogram(noise(8, 8).view(), &octaves, "octaves").unwrap();
    let svg = roxmltree::Document::parse(picture.svg()).unwrap();
    let number = |node: roxmltree::Node, name: &str| node.attribute(name).unwrap().parse::<f64>().unwrap();
    let tick = svg.descendants().find(|node| node.text().is_some_and(|text| text.trim() == "1k")).unwrap();
    let map = svg.descendants().find(|node| node.has_tag_name(("http://www.w3.org/2000/svg", "image"))).unwrap();
    let expected = number(map, "y") + number(map, "height") * (8.0 - 3.5) / 8.0;
    assert!((number(tick, "y") - expected).abs() < 2.0);
}

#[test]
fn epochs_are_whole_and_a_single_one_is_a_dot() {
    let five = plot::curves("loss", "epoch", "loss", &[Curve::per_epoch("run", &[2.3, 2.0, 1.8, 1.7, 1.6])]).unwrap();
    let ticks = texts(&five);
    assert!(["1", "2", "3", "4", "5"].iter().all(|epoch| ticks.iter().any(|tick| tick == epoch)), "{ticks:?}");
    assert!(!ticks.iter().any(|tick| tick == "1.5" || tick == "2.5"), "{ticks:?}");
    let long = plot::curves("loss", "epoch", "loss", &[Curve::per_epoch("run", &[1.0; 300])]).unwrap();
    let whole = texts(&long).iter().filter(|text| text.parse::<u32>().is_ok()).count();
    assert!((3..=8).contains(&whole), "300 epochs have {whole} ticks");
    let one = plot::curves("loss", "epoch", "loss", &[Curve::per_epoch("run", &[2.3])]).unwrap();
    assert!(one.svg().contains("<circle"));
}

#[test]
fn several_runs_have_a_legend_and_colours_of_their_own() {
    let runs: Vec<Curve> = (0..5).map(|i| Curve::per_epoch(format!("run {i}"), &[f64::from(i), 1.0])).collect();
    let picture = plot::curves("loss", "epoch", "loss", &runs).unwrap();
    let texts = texts(&picture);
    assert!((0..5).all(|i| texts.contains(&format!("run {i}"))), "{texts:?}");
    let strokes: std::collections::BTreeSet<&str> =
        picture.svg().split("<circle").skip(1).filter_map(|circle| circle.split("fill=\"").nth(1)?.get(..7)).collect();
    assert_eq!(strokes.len(), 5 + 1, "five colours and the paper around the dots: {strokes:?}");
}

#[test]
fn rows_of_a_confusion_matrix_are_actual_and_columns_predicted() {
    let counts = array![[3, 1, 0], [0, 4, 0], [0, 0, 0]];
    let picture = plot::confusion_matrix(counts.view(), &names(3)).unwrap();
    let (columns, cells, palette) = heat_map(&picture);
    assert_eq!(columns, 3);
    let light: Vec<u32> = cells.iter().map(|&cell| brightness(&palette, cell)).collect();
    assert!(light[4] < light[0] && light[0] < light[1] && light[1] < light[3], "{light:?}");
    assert_eq!(light[8], 3 * 255, "a class without clips stays white");
    let texts = texts(&picture);
    for expected in ["3", "75 %", "1", "25 %", "4", "100 %", "actual", "predicted"] {
        assert!(texts.iter().any(|text| text == expected), "{expected} is not among {texts:?}");
    }
    assert!(texts.iter().any(|text| text.contains("7 of 8 right (87.5 %)")), "{texts:?}");
    assert!(picture.alt().contains("vacuum_cleaner_0 taken for vacuum_cleaner_1 1 times"), "{}", picture.alt());
}

#[test]
fn a_crowded_confusion_matrix_writes_its_fullest_cells_alone() {
    let counts = Array2::from_shape_fn((60, 60), |(r, c)| if r == c { 77 } else { 1 });
    let texts = texts(&plot::confusion_matrix(counts.view(), &names(60)).unwrap());
    assert_eq!(texts.iter().filter(|text| *text == "77").count(), 60);
    assert!(!texts.iter().any(|text| text == "1"));
}

#[test]
fn a_longer_bar_is_a_larger_value() {
    let style = BarStyle { percent: true, ..BarStyle::default() };
    let picture = plot::bars("top", &names(2), &[0.25, 0.75], &style).unwrap();
    let svg = roxmltree::Document::parse(picture.svg()).unwrap();
    let bars = svg.descendants().filter(|node| node.attribute("fill") == Some("#0072B2"));
    let widths: Vec<f64> = bars.map(|bar| bar.attribute("width").unwrap().parse().unwrap()).collect();
    assert_eq!(widths.len(), 2);
    assert!((widths[1] / widths[0] - 3.0).abs() < 0.05, "{widths:?}");
}

#[test]
fn a_reliability_diagram_has_a_bar_as_high_as_the_accuracy_over_each_bin_that_holds_clips() {
    let bins = [(0, 0.0, 0.0), (3, 0.3, 0.25), (0, 0.0, 0.0), (4321, 0.8, 0.75), (5, 1.0, 0.0)];
    let picture = plot::reliability(&reliability(&bins)).unwrap();
    let svg = roxmltree::Document::parse(picture.svg()).unwrap();
    let bars = svg.descendants().filter(|node| node.attribute("fill") == Some("#0072B2"));
    let heights: Vec<f64> = bars.map(|bar| bar.attribute("height").unwrap().parse().unwrap()).collect();
    assert!((heights[1] / heights[0] - 3.0).abs() < 0.05, "{heights:?}");
    assert!(heights[2..].iter().all(|&height| height <= 1.0), "{heights:?}");
    let texts = texts(&picture);
    for expected in ["reliability, ECE 6.3 %", "3", "4321", "5", "clips right", "60 %"] {
        assert!(texts.iter().any(|text| text == expected), "{expected} is not among {texts:?}");
    }
    assert!(picture.alt().contains("75 % of 4321 right at 60 to 80 % confidence"), "{}", picture.alt());
}

#[test]
fn a_count_wider_than_its_bin_is_left_out() {
    let texts = texts(&plot::reliability(&reliability(&[(1_234_567, 0.5, 0.5); 30])).unwrap());
    assert!(!texts.iter().any(|text| text == "1234567"), "{texts:?}");
}

#[test]
fn values_that_are_not_numbers_are_refused_by_name() {
    let mut levels = noise(64, 64);
    levels[[5, 6]] = f32::NAN;
    let style = BarStyle::default();
    let bank = array![[0.0, f32::INFINITY]];
    for reason in [
        refused(plot::waveform(&[0.0, f32::NAN], 16_000, "a clip")),
        refused(plot::mel_spectrogram(levels.view(), &axes(64, 1.0), "a clip")),
        refused(plot::mel_tile(levels.view(), &axes(64, 1.0), "a clip")),
        refused(plot::patches(levels.view(), (8, 8), &axes(64, 5.0))),
        refused(plot::filterbank(bank.view(), &[0.0, 1.0])),
        refused(plot::curves("loss", "epoch", "loss", &[Curve::per_epoch("run", &[1.0, f64::NAN])])),
        refused(plot::bars("top", &names(1), &[f64::INFINITY], &style)),
        refused(plot::reliability(&reliability(&[(1, f64::NAN, 1.0)]))),
        refused(html::audio_player(&[f32::NEG_INFINITY], 16_000, "a clip")),
    ] {
        assert!(reason.contains("NaN") || reason.contains("inf"), "{reason}");
    }
}

#[test]
fn nothing_to_draw_is_refused_and_so_are_shapes_that_contradict_each_other() {
    let empty = Array2::<f32>::zeros((0, 0));
    let style = BarStyle::default();
    refused(plot::waveform(&[], 16_000, "a clip"));
    refused(plot::waveform(&[0.0], 0, "a clip"));
    refused(plot::mel_spectrogram(empty.view(), &axes(64, 1.0), "a clip"));
    refused(plot::mel_spectrogram(noise(64, 0).view(), &axes(64, 1.0), "a clip"));
    refused(plot::mel_spectrogram(noise(64, 10).view(), &axes(40, 1.0), "a clip"));
    refused(plot::mel_spectrogram(noise(64, 10).view(), &axes(64, 0.0), "a clip"));
    refused(plot::mel_spectrogram(noise(2, 10).view(), &MelAxes::new(1.0, [500.0, 400.0], "dB"), "a clip"));
    refused(plot::filterbank(empty.view(), &[]));
    refused(plot::filterbank(noise(2, 4).view(), &[0.0, 1.0]));
    refused(plot::patches(empty.view(), (8, 8), &axes(64, 5.0)));
    refused(plot::patches(noise(64, 64).view(), (0, 0), &axes(64, 5.0)));
    refused(plot::patches(noise(64, 60).view(), (8, 8), &axes(64, 5.0)));
    refused(plot::patches(noise(64, 64).view(), (8, 8), &axes(32, 5.0)));
    refused(plot::curves("loss", "epoch", "loss", &[]));
    refused(plot::curves("loss", "epoch", "loss", &[Curve::per_epoch("run", &[])]));
    refused(plot::confusion_matrix(Array2::zeros((0, 0)).view(), &[]));
    refused(plot::confusion_matrix(Array2::zeros((2, 3)).view(), &names(2)));
    refused(plot::confusion_matrix(Array2::zeros((2, 2)).view(), &names(3)));
    refused(plot::bars("top", &[], &[], &style));
    refused(plot::bars("top", &names(2), &[1.0], &style));
    refused(plot::bars("top", &names(1), &[-1.0], &style));
    refused(plot::reliability(&reliability(&[])));
    refused(plot::reliability(&reliability(&[(0, 0.0, 0.0); 10])));
    refused(plot::reliability(&reliability(&[(1, 0.5, 1.5)])));
    refused(html::audio_player(&[], 16_000, "a clip"));
    refused(html::audio_player(&[0.0], 0, "a clip"));
}

#[test]
fn extreme_but_sound_values_are_drawn() {
    let flat = Array2::from_elem((64, 64), -80.0);
    plot::waveform(&[0.0; 100], 16_000, "silence").unwrap();
    plot::waveform(&[1.0], 16_000, "one sample").unwrap();
    plot::waveform(&[f32::MIN_POSITIVE; 3], 16_000, "almost silence").unwrap();
    plot::waveform(&[1e30, -1e30], 16_000, "far too loud").unwrap();
    plot::mel_spectrogram(flat.view(), &axes(64, 1.0), "silence").unwrap();
    plot::mel_spectrogram(noise(2, 1).view(), &axes(2, 1e-6), "one frame").unwrap();
    plot::patches(flat.view(), (64, 64), &axes(64, 5.0)).unwrap();
    plot::filterbank(Array2::zeros((3, 4)).view(), &[0.0, 1.0, 2.0, 3.0]).unwrap();
    plot::curves("loss", "epoch", "loss", &[Curve::per_epoch("run", &[1e-300, 1e300])]).unwrap();
    plot::curves("loss", "epoch", "loss", &[Curve::per_epoch("run", &[0.0, 0.0])]).unwrap();
    plot::curves("loss", "x", "loss", &[Curve::new("run", [(0.5, -1e9)])]).unwrap();
    plot::confusion_matrix(array![[0]].view(), &names(1)).unwrap();
    plot::confusion_matrix(Array2::from_elem((2, 2), u32::MAX).view(), &names(2)).unwrap();
    plot::bars("none right", &names(2), &[0.0, 0.0], &BarStyle::default()).unwrap();
    plot::reliability(&reliability(&[(1, 0.0, 0.0)])).unwrap();
    plot::reliability(&reliability(&[(usize::MAX / 100, 1.0, 1.0); 100])).unwrap();
    plot::bars("many", &names(2), &[1e12, 1.0], &BarStyle::default()).unwrap();
}

#[test]
fn html_needs_no_scripts_and_no_style_sheets() {
    let pictures: Vec<Html> = one_of_each("a clip", &names(3)).iter().map(Picture::html).collect();
    let page = html::card("all", &[html::grid(2, &pictures), html::table(&["a"], &[vec![1.into()]], "counts")]);
    for forbidden in ["<script", "<style", "<svg", "onclick", "onload", "http://", "https://"] {
        assert!(!page.as_str().contains(forbidden), "{forbidden}");
    }
}

#[test]
fn a_saved_picture_is_the_picture_shown() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("figures/wave.svg");
    let picture = plot::waveform(&[0.0, 1.0, 0.0], 16_000, "a clip").unwrap();
    picture.save(&path).unwrap();
    assert_eq!(std::fs::read_to_string(path).unwrap(), picture.svg());
}
