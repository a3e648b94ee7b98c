//! The pictures of a network and of its data: what each says, and what it refuses.
#![cfg(feature = "pipeline")]

use audio_transformer::Error;
use audio_transformer::show::plot::{self, MelAxes, Picture, PointGroup, Strip};
use ndarray::{Array2, array};

fn texts(picture: &Picture) -> Vec<String> {
    let svg = roxmltree::Document::parse(picture.svg()).unwrap();
    let texts = svg.descendants().filter(|node| node.has_tag_name(("http://www.w3.org/2000/svg", "text")));
    texts.filter_map(|node| Some(node.text()?.trim().to_string())).collect()
}

fn assert_says(picture: &Picture, expected: &[&str]) {
    let texts = texts(picture);
    for expected in expected {
        assert!(texts.iter().any(|text| text == expected), "{expected} is not among {texts:?}");
    }
}

fn refused(result: Result<Picture, Error>) -> String {
    match result {
        Err(error @ Error::Plot { .. }) => error.to_string(),
        Err(other) => panic!("another error: {other}"),
        Ok(picture) => panic!("drawn all the same: {picture:?}"),
    }
}

fn axes(n_mels: usize) -> MelAxes {
    let centers: Vec<f32> = (1..=n_mels).map(|i| 8000.0 * (i as f32 / (n_mels + 1) as f32).powi(2)).collect();
    MelAxes::new(5.0, centers, "dB")
}

fn levels() -> Array2<f32> {
    Array2::from_shape_fn((64, 100), |(band, frame)| -((band + frame) as f32) / 3.0)
}

fn labels(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| name.to_string()).collect()
}

#[test]
fn attention_says_where_half_of_it_lies_in_seconds_and_hertz() {
    let mut attention = Array2::from_elem((4, 10), 0.5);
    attention[[1, 6]] = 30.0;
    let picture = plot::attention(levels().view(), &axes(64), attention.view(), "a dog").unwrap();
    let half = "attention; half of it lies in the outlined 2 %";
    assert_says(&picture, &["a dog", "time (s)", "frequency (Hz)", "0 dB", "30 × mean", half]);
    assert!(picture.alt().contains("the most of it at 3.25 s"), "{}", picture.alt());
    // The outline of one cell: four strokes, twice over, in both panels.
    let even = plot::attention(levels().view(), &axes(64), Array2::ones((4, 10)).view(), "a dog").unwrap();
    let strokes = |picture: &Picture| picture.svg().matches("<polyline").count();
    assert_eq!(strokes(&picture) - strokes(&even), 4 * 2 * 2);
    assert_says(&even, &["attention, about even"]);
}

#[test]
fn attention_that_cannot_be_is_refused() {
    let draw = |attention: Array2<f32>| refused(plot::attention(levels().view(), &axes(64), attention.view(), "a dog"));
    assert!(draw(array![[1.0, f32::NAN]]).contains("NaN"));
    assert!(draw(array![[1.0, -0.5]]).contains("-0.5"));
    draw(Array2::zeros((0, 4)));
    draw(Array2::zeros((4, 0)));
    refused(plot::attention(levels().view(), &axes(32), Array2::ones((4, 4)).view(), "a dog"));
}

#[test]
fn a_timeline_tells_what_is_the_most_probable_when() {
    let windows: [(f64, f64, &[f32]); 3] =
        [(0.0, 5.0, &[0.9, 0.1]), (5.0, 10.0, &[0.8, 0.2]), (7.5, 12.5, &[0.3, 0.7])];
    let picture = plot::timeline("by the window", &labels(&["dog", "rain"]), &windows, &[(0.0, 10.0, 0)]).unwrap();
    assert_says(&picture, &["dog", "rain", "time (s)", "0", "10", "100 %"]);
    assert!(picture.alt().contains("dog from 0.0 to 10.0 s, rain from 7.5 to 12.5 s"), "{}", picture.alt());
    assert!(picture.alt().ends_with("Underlined: dog from 0.0 to 10.0 s."), "{}", picture.alt());
}

#[test]
fn windows_that_cannot_be_are_refused() {
    let draw = |window: (f64, f64, &[f32])| refused(plot::timeline("t", &labels(&["dog"]), &[window], &[]));
    assert!(draw((0.0, 5.0, &[1.5])).contains("1.5"));
    assert!(draw((0.0, 5.0, &[f32::NAN])).contains("NaN"));
    assert!(draw((0.0, 5.0, &[0.5, 0.5])).contains("2 probabilities for 1 labels"));
    assert!(draw((5.0, 5.0, &[0.5])).contains("from 5 to 5 s"));
    refused(plot::timeline("t", &labels(&["dog"]), &[], &[]));
    refused(plot::timeline("t", &labels(&["dog"]), &[(0.0, 1.0, &[0.5])], &[(0.0, 1.0, 1)]));
    refused(plot::timeline("t", &[], &[(0.0, 1.0, &[])], &[]));
}

#[test]
fn strips_name_every_class_and_tell_their_medians() {
    let strip = |label: &str, values: &[f64]| Strip { label: label.into(), values: values.to_vec() };
    let strips = [strip("dog", &[-30.0, -20.0, -10.0]), strip("rain", &[-15.0])];
    let picture = plot::strips("level", "RMS level (dBFS)", &strips).unwrap();
    assert_says(&picture, &["dog", "rain", "RMS level (dBFS)", "−30", "−10"]);
    assert!(picture.alt().contains("rain −15.0, dog −20.0"), "{}", picture.alt());
    refused(plot::strips("level", "dB", &[]));
    refused(plot::strips("level", "dB", &[strip("dog", &[])]));
    assert!(refused(plot::strips("level", "dB", &[strip("dog", &[f64::NEG_INFINITY])])).contains("inf"));
    plot::strips("length", "s", &[strip("all alike", &[5.0; 400])]).unwrap();
}

#[test]
fn a_scatter_plot_names_every_class_and_tells_when_it_leaves_points_out() {
    let group = |i: usize, n: usize| PointGroup { label: format!("class {i}"), points: vec![(i as f64, 2.0); n] };
    let picture = plot::scatter("few", "x", "y", &[group(0, 3), group(1, 1), group(2, 0)]).unwrap();
    assert_says(&picture, &["few", "x", "y", "class 0", "class 1", "class 2"]);
    assert!(picture.alt().contains("class 0 0.0, 2.0; class 1 1.0, 2.0"), "{}", picture.alt());
    let many: Vec<PointGroup> = (0..50).map(|i| group(i, 100)).collect();
    assert_says(&plot::scatter("many", "x", "y", &many).unwrap(), &["many, 1 of 5 drawn", "class 49"]);
    refused(plot::scatter("none", "x", "y", &[group(0, 0)]));
    let lost = PointGroup { label: "lost".into(), points: vec![(0.0, f64::NAN)] };
    assert!(refused(plot::scatter("one", "x", "y", &[lost])).contains("NaN"));
}
