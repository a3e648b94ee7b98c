//! Features on disk, against numpy's own files.

use std::path::{Path, PathBuf};

use audio_transformer::Error;
use audio_transformer::internals::files::npy;
use ndarray::{Array2, ShapeBuilder};

fn fixture(name: &str) -> PathBuf {
    Path::new("tests/fixtures/npy").join(name)
}

fn ramp() -> Array2<f32> {
    Array2::from_shape_fn((3, 5), |(row, column)| (row * 5 + column) as f32 / 7.0)
}

fn header(text: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((text.len() as u16).to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes.extend(data);
    bytes
}

fn found(bytes: &[u8], shape: Option<(usize, usize)>) -> String {
    match npy::parse_f32(bytes, shape, Path::new("x.npy")) {
        Err(Error::Features { path, found, .. }) => {
            assert_eq!(path, Path::new("x.npy"));
            found
        }
        other => panic!("expected Error::Features, got {other:?}"),
    }
}

#[test]
fn a_numpy_file_reads_as_numpy_wrote_it() {
    assert_eq!(npy::read_f32(&fixture("float32-3x5.npy"), Some((3, 5))).unwrap(), ramp());
    assert_eq!(npy::read_f32(&fixture("float32-0x5.npy"), None).unwrap().dim(), (0, 5));
}

#[test]
fn our_files_hold_numpys_bytes_from_any_layout_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/ramp.npy");
    let mut fortran = Array2::zeros((3, 5).f());
    fortran.assign(&ramp());
    let strided = ndarray::concatenate![ndarray::Axis(1), ramp(), ramp()].slice_move(ndarray::s![.., ..5]);
    for array in [ramp(), fortran, strided] {
        npy::write_f32(&path, &array).unwrap();
        let (ours, theirs) = (std::fs::read(&path).unwrap(), std::fs::read(fixture("float32-3x5.npy")).unwrap());
        assert_eq!(ours.len(), theirs.len());
        assert_eq!(ours[128..], theirs[128..]);
        // numpy ends the dictionary with a comma.
        let header = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..128]).replace(", }", "}").trim_end().to_string();
        assert_eq!(header(&ours), header(&theirs));
    }
}

#[test]
fn every_other_kind_of_array_is_refused_by_name() {
    let expected = [
        ("float32-3x5-fortran.npy", "in Fortran order"),
        ("float64-3x5.npy", "<f8"),
        ("float32-3x5-big-endian.npy", "endian"),
        ("float32-15.npy", "1"),
        ("float32-1x3x5.npy", "3"),
    ];
    for (name, word) in expected {
        let error = npy::read_f32(&fixture(name), None).unwrap_err().to_string();
        let (_, found) = error.split_once("found").unwrap();
        assert!(error.contains(name) && found.contains(word), "{error}");
    }
    let bytes = std::fs::read(fixture("float32-3x5.npy")).unwrap();
    assert_eq!(found(&bytes, Some((5, 3))), "shape (3, 5)");
}

#[test]
fn values_that_are_not_finite_are_refused_with_their_place() {
    let mut bytes = std::fs::read(fixture("float32-3x5.npy")).unwrap();
    let place = bytes.len() - 3 * 4;
    bytes[place..place + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    assert_eq!(found(&bytes, Some((3, 5))), "NaN at (2, 2)");
}

#[test]
fn every_cut_of_a_file_is_refused() {
    let bytes = std::fs::read(fixture("float32-3x5.npy")).unwrap();
    for len in 0..bytes.len() {
        found(&bytes[..len], None);
    }
    let longer = [&bytes[..], &[0; 4]].concat();
    found(&longer, None);
}

#[test]
fn a_header_that_claims_more_than_there_is_is_refused() {
    for shape in
        ["(9999999999, 9999999999)", "(4294967295, 1)", "(4611686018427387904, 4)", "(0, 18446744073709551615)"]
    {
        found(&header(&format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}\n"), &[0; 64]), None);
    }
    found(b"\x93NUMPY\x02\x00\xFF\xFF\xFF\xFF{", None);
}

/// A parser of Python literals tries every way through these, twice as many with each bracket.
#[test]
fn nested_brackets_are_refused_before_they_are_parsed() {
    for bracket in ["[", "{", "(", "{'descr':", "((1,),"] {
        assert!(found(&header(&bracket.repeat(60), &[]), None).starts_with("the header"));
    }
}

#[test]
fn a_missing_file_is_an_io_error() {
    assert!(matches!(npy::read_f32(&fixture("no-such.npy"), None), Err(Error::Io { .. })));
}
