//! Claims about reading a raw data set: the three layouts, the folds made, and every table that is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use audio_transformer::internals::dataset::catalog::{
    AUDIO_EXTENSIONS, Catalog, Clip, PASSED_OVER_EXTENSIONS, audio_files, passed_over,
};
use audio_transformer::{Error, Result};
use tempfile::TempDir;

const ESC50_HEADER: &str = "filename,fold,target,category,esc10,src_file,take\n";

fn write(root: &Path, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, content).unwrap();
    path
}

fn read_csv(content: impl AsRef<[u8]>) -> Result<Catalog> {
    let folder = TempDir::new().unwrap();
    let csv = write(folder.path(), "clips.csv", content);
    Catalog::from_csv(&csv, folder.path())
}

fn read_esc50(rows: &str) -> Result<Catalog> {
    let folder = TempDir::new().unwrap();
    write(folder.path(), "ESC-50-master/meta/esc50.csv", format!("{ESC50_HEADER}{rows}"));
    Catalog::from_esc50(&folder.path().join("ESC-50-master"))
}

/// The message of a refusal by the table, with the line it names.
#[track_caller]
fn refused(result: Result<Catalog>) -> (Option<u64>, String) {
    match result {
        Err(error @ Error::Table { line, .. }) => (line, error.to_string()),
        Err(other) => panic!("another error: {other}"),
        Ok(catalog) => panic!("accepted: {catalog:?}"),
    }
}

#[track_caller]
fn refused_on(line: u64, words: &[&str], result: Result<Catalog>) {
    let (found, message) = refused(result);
    assert_eq!(found, Some(line), "{message}");
    for word in words {
        assert!(message.contains(word), "no {word:?} in: {message}");
    }
}

#[test]
fn esc50_rows_become_clips_with_targets_from_zero() {
    let catalog = read_esc50(
        "5-9032-A-3.wav,5,3,cow,False,9032,A\n1-100032-A-0.wav,1,0,dog,True,100032,A\n1-17-B-41.wav,1,41,chainsaw,TRUE,17,B\n",
    )
    .unwrap();
    assert_eq!(catalog.name, "esc50");
    assert!(catalog.audio_dir.ends_with("ESC-50-master/audio"));
    assert_eq!(catalog.labels(), ["dog", "cow", "chainsaw"]);
    assert_eq!(catalog.folds(), [1, 5]);
    let cow = Clip {
        filename: "5-9032-A-3.wav".into(),
        fold: 5,
        category: "cow".into(),
        target: 1,
        further: Vec::new(),
        esc10: false,
        source: "9032".into(),
    };
    assert_eq!(catalog.clips[0], cow);
    assert!(catalog.path(&cow).ends_with("audio/5-9032-A-3.wav"));
}

#[test]
fn esc10_keeps_the_marked_rows_and_numbers_them_anew() {
    let rows = "a.wav,1,0,dog,True,1,A\nb.wav,1,3,cow,False,2,A\nc.wav,2,41,chainsaw,True,3,A\n";
    let catalog = read_esc50(rows).unwrap().esc10().unwrap();
    assert_eq!(catalog.name, "esc10");
    assert_eq!(catalog.labels(), ["dog", "chainsaw"]);
    assert_eq!(catalog.clips.iter().map(|clip| clip.target).collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn esc10_of_a_set_without_marks_is_an_error_and_not_an_empty_set() {
    let error = read_csv("filename,category\na.wav,dog\nb.wav,cow\n").unwrap().esc10().unwrap_err();
    assert!(matches!(error, Error::Dataset { .. }), "{error}");
    assert!(error.to_string().contains("esc10"), "{error}");
}

#[test]
fn an_esc50_recording_split_by_class_counts_as_one_source_per_class() {
    let rows =
        "a.wav,2,37,clock_alarm,False,131943,A\nb.wav,3,38,clock_tick,True,131943,B\nc.wav,3,38,clock_tick,True,7,A\n";
    let catalog = read_esc50(rows).unwrap();
    let sources: Vec<_> = catalog.clips.iter().map(|clip| clip.source.as_str()).collect();
    assert_eq!(sources, ["131943/clock_alarm", "131943/clock_tick", "7"]);
}

#[test]
fn a_source_in_two_folds_is_refused_by_name() {
    let plain = read_csv("filename,category,fold,source\na.wav,dog,1,barn\nb.wav,cow,2,barn\nc.wav,cow,2,field\n");
    refused_on(3, &["`barn`", "fold 2", "line 2"], plain);
    let rows = "a.wav,1,0,dog,True,77,A\nb.wav,1,3,cow,True,77,A\nc.wav,2,0,dog,True,77,B\n";
    refused_on(4, &["`77`"], read_esc50(rows));
    let rows = "a.wav,1,0,dog,True,77,A\nb.wav,2,3,cow,True,77,A\nc.wav,1,3,cow,True,77,B\n";
    refused_on(4, &["`77/cow`"], read_esc50(rows));
}

#[test]
fn without_targets_classes_are_numbered_by_name() {
    let catalog = read_csv("filename,category\na.wav,wind\nb.wav,bell\nc.wav,rain\n").unwrap();
    assert_eq!(catalog.labels(), ["bell", "rain", "wind"]);
    assert_eq!(catalog.clips[0].target, 2);
}

#[test]
fn without_a_source_column_an_esc_like_name_tells_the_recording() {
    let table = "filename,category\n1-55-A-0.wav,dog\nx/1-55-B-0.wav,dog\nx/take-2.wav,cow\ny/take-2.wav,cow\n";
    let sources: Vec<_> = read_csv(table).unwrap().clips.into_iter().map(|clip| clip.source).collect();
    assert_eq!(sources, ["55", "55", "x/take-2", "y/take-2"]);
}

#[test]
fn names_with_four_parts_that_are_not_those_of_esc50_are_recordings_of_their_own() {
    for name in
        ["100032-3-0-0", "2024-05-14-1", "6-55-A-0", "1-55-a-0", "1-55-AB-0", "1-kick-A-0", "1-55-A-x", "1--A-0"]
    {
        let table = format!("filename,category\n{name}.wav,dog\nother.wav,cow\n");
        assert_eq!(read_csv(table).unwrap().clips[0].source, name);
    }
}

#[test]
fn bom_crlf_spaces_and_further_columns_are_tolerated() {
    let catalog = read_csv("\u{feff}filename, category ,note\r\n ./a.wav ,dog,x\r\nb//c.wav,cow,y\r\n").unwrap();
    let names: Vec<_> = catalog.clips.iter().map(|clip| clip.filename.as_str()).collect();
    assert_eq!(names, ["a.wav", "b/c.wav"]);
}

#[test]
fn missing_columns_are_named_with_those_found() {
    refused_on(1, &["no category among", "filename;category"], read_csv("filename,filename;category\n"));
    let folder = TempDir::new().unwrap();
    write(folder.path(), "meta/esc50.csv", "filename,fold,category\n");
    refused_on(1, &["target, esc10, src_file", "filename, fold, category"], Catalog::from_esc50(folder.path()));
}

#[test]
fn a_file_listed_twice_is_refused_with_both_lines() {
    refused_on(4, &["`a.wav`", "line 2"], read_csv("filename,category\na.wav,dog\nb.wav,cow\n./a.wav,cow\n"));
}

#[test]
fn one_target_for_two_classes_or_two_targets_for_one_class_is_refused() {
    let head = "filename,category,target\na.wav,dog,0\n";
    refused_on(3, &["target 0", "`dog`", "`cow`", "line 2"], read_csv(format!("{head}b.wav,cow,0\n")));
    refused_on(3, &["`dog`", "target 0", "line 2"], read_csv(format!("{head}b.wav,dog,1\n")));
    refused_on(3, &["target"], read_csv(format!("{head}b.wav,cow,-1\n")));
    refused_on(3, &["target"], read_csv(format!("{head}b.wav,cow,\n")));
}

#[test]
fn a_fold_that_is_none_is_refused() {
    for fold in ["one", "-1", "1.5", "", "99999999999", "train"] {
        let table = format!("filename,category,fold\na.wav,dog,1\nb.wav,cow,{fold}\n");
        refused_on(3, &["fold", &format!("`{fold}`")], read_csv(table));
    }
}

#[test]
fn a_file_name_that_could_leave_the_folder_is_refused() {
    for name in ["../a.wav", "x/../../a.wav", "/etc/a.wav", "..\\a.wav", "C:\\a.wav", ".", ""] {
        let table = format!("filename,category\nb.wav,cow\n{name},dog\n");
        refused_on(3, &["inside the audio folder"], read_csv(table));
    }
}

#[test]
fn tables_that_are_none_are_refused() {
    refused_on(3, &["2 fields"], read_csv("filename,category\na.wav,dog\nb.wav\n"));
    refused_on(3, &["UTF-8"], read_csv(b"filename,category\na.wav,dog\nb.wav,\xff\xfe\n"));
    refused_on(3, &["category"], read_csv("filename,category\na.wav,dog\nb.wav,\n"));
    refused_on(3, &["esc10"], read_csv("filename,category,esc10\na.wav,dog,True\nb.wav,cow,maybe\n"));
    for table in ["", "filename,category\n", "filename,category\na.wav,dog\nb.wav,dog\n"] {
        refused(read_csv(table));
    }
}

#[test]
fn a_mangled_table_is_refused_or_keeps_every_promise() {
    let sound = "filename,category,fold,target,source\na.wav,bell,1,0,x\nb.wav,rain,2,1,y\nc/d.wav,rain,1,1,z\n";
    let (mut accepted, mut state) = (0, 1_u32);
    let mut random = |below: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as usize % below
    };
    for _ in 0..600 {
        let mut table = sound.as_bytes().to_vec();
        for _ in 0..=random(3) {
            let position = random(table.len());
            match random(3) {
                0 => table[position] = b"\"\n,./\\0129\xFF\0"[random(12)],
                1 => drop(table.remove(position)),
                _ => table.insert(position, table[random(table.len())]),
            }
        }
        let Ok(catalog) = read_csv(&table) else { continue };
        accepted += 1;
        let labels = catalog.labels();
        assert!(labels.len() >= 2);
        let mut files = BTreeSet::new();
        for clip in &catalog.clips {
            assert_eq!(labels[clip.target], clip.category);
            assert!(clip.fold >= 1 && files.insert(&clip.filename));
            assert!(!clip.filename.starts_with('/') && !clip.filename.split('/').any(|part| part == ".."));
        }
    }
    assert!((20..580).contains(&accepted), "{accepted} accepted: too few or too many to tell anything");
}

#[test]
fn an_oversized_table_is_refused_unread() {
    let folder = TempDir::new().unwrap();
    let csv = write(folder.path(), "clips.csv", "filename,category\na.wav,dog\nb.wav,cow\n");
    fs::File::options().write(true).open(&csv).unwrap().set_len(1 << 40).unwrap();
    assert!(refused(Catalog::from_csv(&csv, folder.path())).1.contains("1099511627776"));
}

#[test]
fn a_missing_table_or_folder_is_an_io_error_that_names_it() {
    let folder = TempDir::new().unwrap();
    let missing = folder.path().join("nowhere");
    for result in [Catalog::from_csv(&missing, folder.path()), Catalog::from_esc50(&missing), Catalog::open(&missing)] {
        let error = result.unwrap_err();
        assert!(matches!(error, Error::Io { .. }) && error.to_string().contains("nowhere"), "{error}");
    }
}

/// Clips per class and fold.
fn spread(catalog: &Catalog) -> BTreeMap<(String, u32), usize> {
    let mut counts = BTreeMap::new();
    for clip in &catalog.clips {
        *counts.entry((clip.category.to_string(), clip.fold)).or_default() += 1;
    }
    counts
}

#[test]
fn folds_spread_every_class_evenly() {
    let mut table = String::from("filename,category\n");
    for (class, count) in [("bell", 23), ("rain", 5), ("wind", 40)] {
        for index in 0..count {
            table += &format!("{class}{index}.wav,{class}\n");
        }
    }
    let catalog = read_csv(&table).unwrap();
    assert_eq!(catalog.folds(), [1, 2, 3, 4, 5]);
    let counts = spread(&catalog);
    for (class, count) in [("bell", 23), ("rain", 5), ("wind", 40)] {
        for fold in 1..=5 {
            let clips = counts[&(class.to_string(), fold)];
            assert!(clips == count / 5 || clips == count / 5 + 1, "{clips} of {count} {class} in fold {fold}");
        }
    }
}

#[test]
fn folds_keep_every_source_whole() {
    let mut table = String::from("filename,category,source\n");
    for index in 0..200 {
        table += &format!("{index}.wav,{},{}\n", ["bell", "rain", "wind"][index % 3], index * index % 41);
    }
    let catalog = read_csv(&table).unwrap();
    let mut folds_of: BTreeMap<&str, BTreeSet<u32>> = BTreeMap::new();
    for clip in &catalog.clips {
        folds_of.entry(&clip.source).or_default().insert(clip.fold);
    }
    assert!(folds_of.len() > 5);
    assert!(folds_of.values().all(|folds| folds.len() == 1), "{folds_of:?}");
    assert_eq!(spread(&catalog).len(), 15, "every class in every fold");
}

#[test]
fn folds_do_not_depend_on_the_order_of_the_rows() {
    let rows: Vec<String> = (0..60).map(|index| format!("{index}.wav,{}\n", ["bell", "rain"][index % 2])).collect();
    let fold_of = |rows: Vec<&String>| -> BTreeMap<String, u32> {
        let table = rows.into_iter().fold(String::from("filename,category\n"), |table, row| table + row);
        read_csv(table).unwrap().clips.into_iter().map(|clip| (clip.filename, clip.fold)).collect()
    };
    assert_eq!(fold_of(rows.iter().collect()), fold_of(rows.iter().rev().collect()));
}

#[test]
fn a_further_clip_moves_few_others_and_none_of_another_class() {
    let table = |further: &str| {
        let mut table = String::from("filename,category\n");
        for index in 0..40 {
            table += &format!("bell/{index}.wav,bell\nrain/{index}.wav,rain\n");
        }
        table + further
    };
    let fold_of = |table: String| -> BTreeMap<String, u32> {
        read_csv(table).unwrap().clips.into_iter().map(|clip| (clip.filename, clip.fold)).collect()
    };
    let before = fold_of(table(""));
    let mut all_moved = 0;
    for further in 0..50 {
        let after = fold_of(table(&format!("bell/new{further}.wav,bell\n")));
        let moved: Vec<_> = before.iter().filter(|(name, fold)| after[*name] != **fold).collect();
        assert!(moved.iter().all(|(name, _)| name.starts_with("bell/")), "{moved:?}");
        assert!(moved.len() <= 10, "{} of 40", moved.len());
        all_moved += moved.len();
    }
    assert!(all_moved <= 50 * 4, "{all_moved} of 50 times 40: a tenth at most");
}

#[test]
fn folds_balance_clips_where_sources_differ_in_size() {
    let mut table = String::from("filename,category,source\n");
    for (class, seed) in [("bell", 1), ("rain", 2)] {
        for source in 0..40 {
            for take in 0..[1, 1, 2, 3, 4, 8][source * seed % 6] {
                table += &format!("{class}{source}-{take}.wav,{class},{class}{source}\n");
            }
        }
    }
    let counts = spread(&read_csv(&table).unwrap());
    for class in ["bell", "rain"] {
        let clips: Vec<usize> = (1..=5).map(|fold| counts[&(class.to_string(), fold)]).collect();
        let spread = clips.iter().max().unwrap() - clips.iter().min().unwrap();
        assert!(spread <= 8, "no more apart than the largest source is long: {clips:?}");
    }
}

#[test]
fn a_small_class_makes_fewer_folds_and_never_less_than_two() {
    let table = "filename,category\na.wav,bell\nb.wav,bell\nc.wav,bell\nd.wav,rain\ne.wav,rain\nf.wav,rain\n";
    assert_eq!(read_csv(table).unwrap().folds(), [1, 2, 3]);
    for name in 0..20 {
        let pair = format!("filename,category\na{name}.wav,bell\nb{name}.wav,rain\n");
        assert_eq!(read_csv(pair).unwrap().folds(), [1, 2]);
    }
    let error = read_csv("filename,category,source\na.wav,bell,1\nb.wav,rain,1\n").unwrap_err();
    assert!(matches!(error, Error::Dataset { .. }), "{error}");
}

#[test]
fn class_folders_become_classes_whatever_the_audio_format() {
    let folder = TempDir::new().unwrap();
    for name in [
        "rain/a.wav",
        "rain/b.FLAC",
        "rain/deep/c.mp3",
        "bell/a.ogg",
        "bell/notes.txt",
        "bell/.hidden.wav",
        "docs/x.md",
    ] {
        write(folder.path(), name, "");
    }
    let catalog = Catalog::open(folder.path()).unwrap();
    assert_eq!(catalog.labels(), ["bell", "rain"]);
    let names: Vec<_> = catalog.clips.iter().map(|clip| clip.filename.as_str()).collect();
    assert_eq!(names, ["bell/a.ogg", "rain/a.wav", "rain/b.FLAC", "rain/deep/c.mp3"]);
    assert_eq!(catalog.name, folder.path().file_name().unwrap().to_str().unwrap());
    assert!(catalog.clips.iter().all(|clip| catalog.path(clip).is_file()));
}

#[test]
fn what_speech_commands_calls_noise_is_no_class_and_a_speaker_stays_in_one_fold() {
    let folder = TempDir::new().unwrap();
    for speaker in 0..12 {
        for (word, takes) in [("yes", 2), ("no", 1)] {
            for take in 0..takes {
                write(folder.path(), &format!("{word}/{speaker:08x}_nohash_{take}.wav"), "");
            }
        }
    }
    write(folder.path(), "_background_noise_/running_tap.wav", "");
    let catalog = Catalog::open(folder.path()).unwrap();
    assert_eq!(catalog.labels(), ["no", "yes"]);
    let mut folds: BTreeMap<&str, BTreeSet<u32>> = BTreeMap::new();
    for clip in &catalog.clips {
        let speaker = clip.filename.split(['/', '_']).nth(1).unwrap();
        folds.entry(speaker).or_default().insert(clip.fold);
    }
    assert!(folds.len() == 12 && folds.values().all(|folds| folds.len() == 1), "{folds:?}");
    assert_eq!(catalog.folds().len(), 5);
    let notes = catalog.notes.join("\n");
    assert!(notes.contains("1 recordings in _background_noise_ are noise to mix in and no class"), "{notes}");
    assert!(
        notes.contains("36 recordings are named as of 12 sources") && !notes.contains("without a recording"),
        "{notes}"
    );
}

#[test]
fn parts_of_one_recording_share_a_fold_where_none_is_given_and_keep_those_that_are() {
    let rows = |folds: bool| {
        let mut rows = String::from(if folds { "filename,category,fold\n" } else { "filename,category\n" });
        for (n, part) in (0..12).flat_map(|n| (0..3).map(move |part| (n, part))) {
            let fold = if folds { format!(",{}", part + 1) } else { String::new() };
            rows += &format!("rec{n}_part{part}.wav,{}{fold}\n", ["rain", "wind"][n % 2]);
        }
        rows
    };
    let made = read_csv(rows(false)).unwrap();
    assert!(made.clips.chunks(3).all(|parts| parts.iter().all(|clip| clip.fold == parts[0].fold)), "{made:?}");
    assert!(made.notes.iter().any(|note| note.starts_with("36 recordings are named as of 12 sources")));
    let given = read_csv(rows(true)).unwrap();
    assert!(given.clips.chunks(3).all(|parts| parts[0].fold != parts[1].fold) && given.notes.is_empty());
    // A class of a single recording would never be trained on and scored: its parts stay apart, and that is said.
    let parts = |name: &str, class: &str| (0..4).map(|n| format!("{name}_part{n}.wav,{class}\n")).collect::<String>();
    let single = format!("filename,category\n{}{}{}", parts("a", "rain"), parts("b", "wind"), parts("c", "wind"));
    let single = read_csv(single).unwrap();
    assert!(single.clips[..4].iter().any(|clip| clip.fold != single.clips[0].fold));
    assert!(single.notes[0].contains("4 of them stay apart"), "{:?}", single.notes);
}

#[test]
fn sound_files_of_formats_that_are_not_read_are_told_apart_from_other_files() {
    let folder = TempDir::new().unwrap();
    for name in
        ["rain/a.wav", "rain/b.AIFF", "rain/deep/c.wma", "bell/d.mp4", "bell/.hidden.caf", "bell/notes.txt", "e.amr"]
    {
        write(folder.path(), name, "");
    }
    assert_eq!(passed_over(folder.path()).unwrap(), ["bell/d.mp4", "e.amr", "rain/b.AIFF", "rain/deep/c.wma"]);
    assert_eq!(audio_files(folder.path()).unwrap().files, ["rain/a.wav"]);
    assert!(PASSED_OVER_EXTENSIONS.iter().all(|extension| !AUDIO_EXTENSIONS.contains(extension)));
}

#[test]
fn a_folder_without_classes_tells_the_layouts_that_are_read() {
    let folder = TempDir::new().unwrap();
    write(folder.path(), "rain/a.wav", "");
    let error = Catalog::open(folder.path()).unwrap_err().to_string();
    for word in ["esc50.csv", "category", "per class", "rain"] {
        assert!(error.contains(word), "no {word:?} in: {error}");
    }
}

#[test]
fn open_finds_the_table_and_the_audio() {
    let table = "filename,category\na.wav,bell\nb.wav,rain\n";
    let folder = TempDir::new().unwrap();
    let root = folder.path();
    write(root, "licences.csv", "file,licence\na.wav,CC0\n");
    write(root, "my clips.CSV", table);
    write(root, "audio/a.wav", "");
    assert_eq!(Catalog::open(root).unwrap().audio_dir, root.join("audio"));
    write(root, "a.wav", "");
    assert_eq!(Catalog::open(root).unwrap().audio_dir, root);

    write(root, "other.csv", table);
    let error = Catalog::open(root).unwrap_err().to_string();
    assert!(error.contains("my clips.CSV") && error.contains("other.csv"), "{error}");
    write(root, "metadata.csv", "filename,category\na.wav,bell\nb.wav,wind\n");
    assert_eq!(Catalog::open(root).unwrap().labels(), ["bell", "wind"]);
    write(root, "meta/esc50.csv", format!("{ESC50_HEADER}a.wav,1,0,dog,True,1,A\nb.wav,1,1,cow,False,2,A\n"));
    assert_eq!(Catalog::open(root).unwrap().labels(), ["dog", "cow"]);
}

#[cfg(unix)]
#[test]
fn a_loop_of_links_does_not_trap_the_search() {
    let folder = TempDir::new().unwrap();
    write(folder.path(), "rain/a.wav", "");
    std::os::unix::fs::symlink(folder.path(), folder.path().join("rain/again")).unwrap();
    assert_eq!(audio_files(folder.path()).unwrap().files, ["rain/a.wav"]);
}

#[test]
fn an_empty_source_falls_back_on_the_other_column_of_its_kind() {
    let table = "filename,category,source,src_file\na.wav,dog,,7\nb.wav,cow,8,9\nc.wav,cow,,\n";
    let catalog = read_csv(table).unwrap();
    let sources: Vec<&str> = catalog.clips.iter().map(|clip| clip.source.as_str()).collect();
    assert_eq!(sources, ["7", "8", "c"]);
}
