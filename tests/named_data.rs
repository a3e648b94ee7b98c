//! What people name as their data set: folders with a bad entry, links, tables, archives as they pack them, and files that are none of these.
#![cfg(feature = "download")]

#[path = "support/packing.rs"]
mod packing;

use std::fs;
use std::path::PathBuf;

use audio_transformer::catalog::{Catalog, audio_files};
use audio_transformer::config::{Config, DataConfig, DataSource};
use audio_transformer::{Error, acquire, open_catalog};
use packing::{Files, gzip, noise_wav, pack};

struct Case {
    dir: tempfile::TempDir,
}

impl Case {
    fn new() -> Self {
        Case { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    /// Short noises under these names.
    fn sounds(&self, names: &[&str]) -> PathBuf {
        for (seed, name) in names.iter().enumerate() {
            self.write(name, noise_wav(500, seed as u32));
        }
        self.path("s")
    }

    fn config(&self, source: DataSource) -> Config {
        let (raw_dir, processed_dir) = (self.path("raw"), self.path("processed"));
        let data = DataConfig { source, metadata_path: None, raw_dir, processed_dir, ..Default::default() };
        Config { data, ..Default::default() }
    }

    /// What `DATASET=<name>` would take.
    fn acquire(&self, name: &str) -> audio_transformer::Result<Catalog> {
        acquire(&self.config(DataSource::parse(name)))
    }
}

fn files(catalog: &Catalog) -> Vec<&str> {
    catalog.clips.iter().map(|clip| clip.filename.as_str()).collect()
}

const FOUR: [&str; 4] = ["s/bark/1.wav", "s/bark/2.wav", "s/rain/1.wav", "s/rain/2.wav"];

#[cfg(unix)]
#[test]
fn one_bad_entry_is_listed_and_the_others_are_read() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let case = Case::new();
    let root = case.sounds(&FOUR);
    fs::write(root.join("rain").join(OsStr::from_bytes(b"caf\xE9.wav")), noise_wav(500, 9)).unwrap();
    std::os::unix::fs::symlink("nowhere", root.join("bark/gone.wav")).unwrap();
    std::os::unix::fs::symlink("..", root.join("bark/loop")).unwrap();
    let mut deep = root.join("rain");
    for _ in 0..20 {
        deep.push("deeper");
    }
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("a.wav"), noise_wav(500, 10)).unwrap();

    let walk = audio_files(&root).unwrap();
    assert_eq!(walk.files, ["bark/1.wav", "bark/2.wav", "rain/1.wav", "rain/2.wav"]);
    let reasons: Vec<&str> = walk.unreadable.iter().map(|(_, reason)| reason.as_str()).collect();
    let expected = [
        "a link to something that is not there",
        "a link to a folder around it",
        "its name is not in UTF-8",
        "16 folders deep",
    ];
    assert_eq!(reasons.len(), 4, "{:?}", walk.unreadable);
    for reason in expected {
        assert!(reasons.iter().any(|found| found.contains(reason)), "{reason}: {reasons:?}");
    }
    let catalog = case.acquire(&root.to_string_lossy()).unwrap();
    assert_eq!((catalog.clips.len(), catalog.unreadable), (4, walk.unreadable));
}

#[cfg(unix)]
#[test]
fn a_folder_without_permission_is_listed_and_the_others_are_read() {
    use std::os::unix::fs::PermissionsExt;

    let case = Case::new();
    let root = case.sounds(&[&FOUR[..], &["s/bark/locked/3.wav"]].concat());
    let locked = root.join("bark/locked");
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o000)).unwrap();
    let walk = audio_files(&root).unwrap();
    let may_read_all = fs::read_dir(&locked).is_ok();
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o755)).unwrap();
    if may_read_all {
        // For the superuser nothing is locked.
        assert_eq!(walk.files.len(), 5);
    } else {
        assert_eq!(walk.files.len(), 4);
        assert_eq!(walk.unreadable, [("bark/locked/".to_owned(), "no permission to read it".to_owned())]);
    }
}

#[cfg(unix)]
#[test]
fn class_folders_that_are_links_are_followed() {
    let case = Case::new();
    let root = case.sounds(&["s/bark/1.wav", "s/bark/2.wav", "elsewhere/1.wav", "elsewhere/2.wav"]);
    std::os::unix::fs::symlink(case.path("elsewhere"), root.join("rain")).unwrap();
    let catalog = case.acquire(&root.to_string_lossy()).unwrap();
    assert_eq!(catalog.labels(), ["bark", "rain"]);
    assert_eq!(catalog.clips.len(), 4);
}

#[test]
fn numbers_in_class_names_count_by_their_value() {
    let case = Case::new();
    let names: Vec<String> = ["10", "9", "2", "0", "class 2", "class 10", "b", "a"]
        .iter()
        .flat_map(|class| [1, 2].map(|take| format!("s/{class}/{take}.wav")))
        .collect();
    let root = case.sounds(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let labels = case.acquire(&root.to_string_lossy()).unwrap().labels();
    assert_eq!(labels, ["0", "2", "9", "10", "a", "b", "class 2", "class 10"]);
}

#[test]
fn folders_that_split_a_data_set_are_its_folds() {
    let splits = [["train", "test"], ["Training", "validation"], ["fold1", "fold10"], ["fold_0", "fold_1"]];
    for [one, other] in splits {
        let case = Case::new();
        let names = [one, other].map(|top| ["bark", "rain"].map(|class| format!("s/{top}/{class}/1.wav"))).concat();
        let root = case.sounds(&names.iter().map(String::as_str).collect::<Vec<_>>());
        let catalog = case.acquire(&root.to_string_lossy()).unwrap();
        assert_eq!((catalog.labels(), catalog.folds()), (vec!["bark".into(), "rain".into()], vec![1, 2]), "{one}");
        assert!(
            catalog.clips.iter().all(|clip| (clip.fold == 1) == clip.filename.starts_with(&format!("{one}/"))),
            "{one}"
        );
        assert!(catalog.notes[0].contains(&format!("{one} is fold 1, {other} is fold 2")), "{:?}", catalog.notes);
    }
    // Split in several ways, they say nothing.
    let case = Case::new();
    let root = case.sounds(&["s/train/a/1.wav", "s/train/b/1.wav", "s/fold2/a/2.wav", "s/fold2/b/2.wav"]);
    let error = case.acquire(&root.to_string_lossy()).map(drop).unwrap_err();
    assert!(matches!(&error, Error::Dataset { found, .. } if found.contains("fold2, train")), "{error}");
    // A class may have such a name, and so may folders that hold the sounds themselves.
    let case = Case::new();
    let root = case.sounds(&["s/train/steam/1.wav", "s/train/steam/2.wav", "s/tram/1.wav", "s/tram/2.wav"]);
    assert_eq!(case.acquire(&root.to_string_lossy()).unwrap().labels(), ["train", "tram"]);
}

#[test]
fn tables_are_read_as_people_have_them() {
    let files = ["s/1.wav", "s/2.wav", "s/3.wav", "s/4.wav"];
    let plain = |catalog: &Catalog| -> Vec<(String, String, u32)> {
        catalog.clips.iter().map(|clip| (clip.filename.clone(), clip.category.to_string(), clip.fold)).collect()
    };
    let expected: Vec<(String, String, u32)> =
        [("1.wav", "bark", 1), ("2.wav", "bark", 2), ("3.wav", "rain", 1), ("4.wav", "rain", 2)]
            .map(|(file, class, fold)| (file.into(), class.into(), fold))
            .into();
    let tables = [
        "filename,category,fold\n1.wav,bark,1\n2.wav,bark,2\n3.wav,rain,1\n4.wav,rain,2\n",
        // A byte order mark, semicolons, any case, folds from 0 with a point, rows of nothing.
        "\u{feff}File_Name;Label;Split\n1.wav;bark;0.0\n;;\n2.wav;bark;1.0\n3.wav;rain;0.0\n4.wav;rain;1.0\n;;\n",
        "path\tclass\tsplit\n.\\1.wav\tbark\ttrain\n./2.wav\tbark\ttest\n3.wav\train\ttrain\n4.wav\train\ttest\n",
        "FILE|CLASS_NAME|FOLD\n1.wav|bark|fold1\n2.wav|bark|fold2\n3.wav|rain|fold1\n4.wav|rain|fold2\n",
        "file,category,fold\nROOT/1.wav,bark,1\nROOT/2.wav,bark,2\nROOT/3.wav,rain,1\nROOT/4.wav,rain,2\n",
    ];
    for table in tables {
        let case = Case::new();
        let root = case.sounds(&files);
        case.write("s/list.csv", table.replace("ROOT", &root.to_string_lossy()));
        let catalog = Catalog::open(&root).unwrap();
        assert_eq!(plain(&catalog), expected, "{table}");
        assert_eq!(catalog.notes.is_empty(), table.starts_with("filename"), "{:?}", catalog.notes);
    }
    // A table of other things is no list of clips, whatever its columns; it is named.
    let case = Case::new();
    let root = case.sounds(&["s/bark/1.wav", "s/bark/2.wav", "s/rain/3.wav", "s/rain/4.wav"]);
    case.write("s/results.csv", "file,label\nmodel.bin,good\n");
    assert_eq!(Catalog::open(&root).unwrap().labels(), ["bark", "rain"]);
    // Nor is one of predictions, which names the recordings in class folders by other labels.
    case.write("s/results.csv", "file,label\nbark/1.wav,rain\nbark/2.wav,rain\nrain/3.wav,bark\nrain/4.wav,rain\n");
    let labels: Vec<String> =
        Catalog::open(&root).unwrap().clips.into_iter().map(|clip| clip.category.to_string()).collect();
    assert_eq!(labels, ["bark", "bark", "rain", "rain"]);
}

#[test]
fn a_table_that_cannot_be_taken_is_named_with_what_it_is() {
    let of = |table: &str, bytes: &[u8]| {
        let case = Case::new();
        let root = case.sounds(&["s/audio/1.wav", "s/audio/2.wav", "s/audio/3.wav", "s/audio/4.wav"]);
        case.write(table, bytes);
        Catalog::open(&root)
    };
    let told = |bytes: &[u8], words: &[&str]| {
        let error = of("s/labels.csv", bytes).unwrap_err().to_string();
        words.iter().for_each(|word| assert!(error.contains(word), "no {word:?} in: {error}"));
    };
    told(
        "Datei;Klasse\n1.wav;bark\n".as_bytes(),
        &["labels.csv, with the columns Datei, Klasse", "filename and category"],
    );
    let utf16: Vec<u8> = "\u{feff}filename,category\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    told(&utf16, &["labels.csv, which is text in UTF-16"]);
    told(b"filename,category\n1.wav,hib\xf3u\n", &["line 2", "text in UTF-8", "save it as a CSV in UTF-8"]);
    told(b"filename,species,class\n1.wav,owl,bird\n2.wav,tit,bird\n", &["column class, of filename, species, class"]);
    // Where two columns may be meant, the other one is told.
    let rows = "1.wav,bark,a\n2.wav,bark,b\n3.wav,rain,a\n4.wav,rain,b\n";
    let catalog = of("s/labels.csv", format!("filename,category,label\n{rows}").as_bytes()).unwrap();
    assert_eq!(catalog.notes, ["columns passed over: label (for category, category is read)"]);
    let catalog = of("s/labels.csv", format!("path,label,class_name\n{rows}").as_bytes()).unwrap();
    assert!(
        catalog.notes.contains(&"columns passed over: label (for category, class_name is read)".into()),
        "{:?}",
        catalog.notes
    );
}

/// Refused with these words in its message.
#[track_caller]
fn refused(result: audio_transformer::Result<Catalog>, words: &[&str]) {
    let message = result.map(|catalog| files(&catalog).join(" ")).unwrap_err().to_string();
    words.iter().for_each(|word| assert!(message.contains(word), "no {word:?} in: {message}"));
}

#[track_caller]
fn noted(catalog: &Catalog, words: &str) {
    assert!(catalog.notes.iter().any(|note| note.contains(words)), "no {words:?} in {:?}", catalog.notes);
}

#[test]
fn parts_of_a_data_set_never_become_its_classes() {
    let open = |names: &[&str]| {
        let case = Case::new();
        let root = case.sounds(names);
        (case.acquire(&root.to_string_lossy()), case)
    };
    let of_parts = |top: &str| ["a/1", "a/2", "b/1", "b/2"].map(|file| format!("s/{top}/{file}.wav"));
    let parts = |one: &str, other: &str, more: &[&str]| {
        let all = [of_parts(one), of_parts(other)].concat();
        open(&all.iter().map(String::as_str).chain(more.iter().copied()).collect::<Vec<_>>())
    };
    // Under longer names; with a file beside the class folders, which has no class.
    for (one, other) in
        [("train_set", "test_set"), ("Kaggle.audio_train", "Kaggle.audio_test"), ("TrainSet", "TestSet")]
    {
        let catalog = parts(one, other, &[]).0.unwrap();
        assert_eq!((catalog.labels(), catalog.folds()), (vec!["a".into(), "b".into()], vec![1, 2]), "{one}");
        assert!(catalog.clips.iter().all(|clip| (clip.fold == 2) == clip.filename.starts_with(other)), "{one}");
    }
    let catalog = parts("train", "test", &["s/train/intro.wav"]).0.unwrap();
    assert_eq!((catalog.labels().len(), catalog.clips.len(), catalog.folds_made), (2, 8, false));
    noted(&catalog, "1 files lie in test, train and in no class folder there, and are left out, as train/intro.wav");
    // A test set whose classes nobody tells: folds are made of the rest.
    let train = of_parts("train");
    let names: Vec<&str> = train.iter().map(String::as_str).chain(["s/test/x.wav"]).collect();
    let catalog = open(&names).0.unwrap();
    assert_eq!((catalog.labels(), catalog.clips.len(), catalog.folds_made), (vec!["a".into(), "b".into()], 4, true));
    noted(&catalog, "left out, as test/x.wav");
    // No class at all, a folder beside them, a table in each of them.
    refused(open(&["s/fold1/1.wav", "s/fold2/1.wav"]).0, &["fold1, fold2", "no class folders in them"]);
    refused(
        open(&["s/X.audio_train/1.wav", "s/X.audio_test/1.wav"]).0,
        &["X.audio_test, X.audio_train", "no class folders"],
    );
    refused(parts("train", "test", &["s/noises/1.wav"]).0, &["test, train", "beside noises"]);
    let catalog = parts("train", "test", &["s/_background_noise_/1.wav"]).0.unwrap();
    assert_eq!((catalog.labels().len(), catalog.folds()), (2, vec![1, 2]));
    noted(&catalog, "1 recordings in _background_noise_ are noise to mix in and no class");
    let (_, case) = parts("train", "test", &[]);
    case.write("s/testing_list.txt", "train/a/1.wav\n");
    let catalog = Catalog::open(&case.path("s")).unwrap();
    noted(&catalog, "lists that are not read, for folders say which part a recording is in: testing_list.txt");
    let (_, case) = parts("train", "test", &[]);
    case.write("s/train/metadata.csv", "file_name,label\na/1.wav,owl\n");
    refused(Catalog::open(&case.path("s")), &["train/metadata.csv", "table of its own"]);
}

#[test]
fn lists_as_of_speech_commands_are_folds() {
    let case = Case::new();
    let root = case.sounds(&["s/no/1.wav", "s/no/2.wav", "s/no/3.wav", "s/yes/1.wav", "s/yes/2.wav", "s/yes/3.wav"]);
    case.write("s/testing_list.txt", "no/3.wav\nyes/3.wav\n");
    case.write("s/validation_list.txt", "no/2.wav\nyes/2.wav\n");
    let catalog = Catalog::open(&root).unwrap();
    let folds: Vec<u32> = catalog.clips.iter().map(|clip| clip.fold).collect();
    assert_eq!((folds, catalog.folds_made), (vec![1, 2, 3, 1, 2, 3], false));
    noted(
        &catalog,
        "lists taken for folds: validation_list.txt is fold 2, testing_list.txt is fold 3, and what they do not name is fold 1",
    );
    case.write("s/validation_list.txt", "no/2.wav\nno/3.wav\n");
    refused(Catalog::open(&root), &["no/3.wav in testing_list.txt and in validation_list.txt", "Take it out of one"]);
}

#[test]
fn folders_that_may_not_be_the_classes_are_told() {
    let case = Case::new();
    let root = case.sounds(&["s/id_0/normal/1.wav", "s/id_0/odd/1.wav", "s/id_2/normal/1.wav", "s/id_2/odd/1.wav"]);
    fs::create_dir(case.path("s/bird")).unwrap();
    case.write("s/id_0/labels.csv", "file,label\n");
    case.write("s/testing_list.txt", "");
    let catalog = Catalog::open(&root).unwrap();
    assert_eq!(catalog.labels(), ["id_0", "id_2"]);
    noted(&catalog, "folders normal, odd lie in each of id_0, id_2: these outer ones are the classes");
    noted(&catalog, "folders without a recording that is read: bird");
    noted(&catalog, "id_0/labels.csv lists recordings, and is not read");
    noted(&catalog, "lists that are not read, for they do not split the recordings that are there: testing_list.txt");
    let case = Case::new();
    let root = case.sounds(&["s/dog/train/1.wav", "s/dog/test/1.wav", "s/cat/train/1.wav", "s/cat/test/1.wav"]);
    noted(&Catalog::open(&root).unwrap(), "folders test, train lie in each of cat, dog and are not read as folds");
    let root = Case::new();
    let plain = Catalog::open(&root.sounds(&FOUR)).unwrap();
    assert_eq!(plain.notes, [""; 0]);
}

#[test]
fn a_table_takes_no_recordings_of_its_neighbours() {
    let case = Case::new();
    case.sounds(&["s/B/oboe/1.wav", "s/B/tuba/2.wav"]);
    let list = case.write("s/A/list.csv", "filename,category\n1.wav,rain\n2.wav,siren\n");
    refused(acquire(&case.config(DataSource::Table(list))), &["a row without a file"]);
    // A folder for tables stands for what is around it, and what was found elsewhere is told.
    let list = case.write("s/labels/list.csv", "filename,category\n1.wav,rain\n2.wav,siren\n");
    let catalog = acquire(&case.config(DataSource::Table(list))).unwrap();
    noted(&catalog, "2 of 2 files are found deeper than the table says, as B/oboe/1.wav for 1.wav");
}

#[test]
fn rows_that_are_parts_of_files_are_refused_and_files_that_are_cut_already_are_not() {
    let case = Case::new();
    let rate = audio_transformer::audio::read(&{
        case.sounds(&["s/1.wav", "s/2.wav"]);
        case.path("s/1.wav")
    })
    .unwrap();
    let whole_s = rate.duration_s();
    let open = |header: &str, rows: &str| {
        case.write("s/list.csv", format!("filename,{header},category\n{rows}"));
        Catalog::open(&case.path("s"))
    };
    for header in ["start,end", "onset,offset", "Begin Time (s),End Time (s)", "start_s,end_s", "start_time,duration"] {
        refused(open(header, "1.wav,0.5,9.5,rain\n2.wav,1,8,owl\n"), &["parts of files", "1.wav lasts"]);
    }
    refused(open("start,end", "1.wav,0:00,0:01,rain\n2.wav,0:01,0:02,owl\n"), &["a part of it"]);
    let row = |file: &str, class: &str| format!("{file},7,{},{class}\n", 7.0 + whole_s);
    let cut = row("1.wav", "rain") + &row("2.wav", "owl");
    noted(&open("start,end", &cut).unwrap(), "start and end are not read: every file counts as a whole");
    refused(
        open("start,end", &(cut + &row("1.wav", "owl"))),
        &["every file once", "parts of recordings, as start and end"],
    );
}

#[test]
fn rows_lead_to_one_file_each_and_a_file_to_one_row() {
    let case = Case::new();
    let root = case.sounds(&["s/audio/1.wav", "s/audio/2.wav", "s/audio/3.wav"]);
    let open = |rows: &str| {
        case.write("s/list.csv", format!("filename,category\n{rows}"));
        Catalog::open(&root)
    };
    refused(open("1.wav,rain\n2.wav,owl\n3.wav,owl\naudio/1.wav,owl\n"), &["two rows that mean audio/1.wav"]);
    // What lies in two of the usual folders could be either.
    case.sounds(&["s/wav/7.wav", "s/sounds/7.wav"]);
    let catalog = open("1.wav,rain\n2.wav,owl\n7.wav,owl\n").unwrap();
    assert_eq!(files(&catalog), ["1.wav", "2.wav", "7.wav"]);
    case.sounds(&["s/clips/1.wav", "s/clips/2.wav"]);
    noted(&open("1.wav,rain\n2.wav,owl\n").unwrap(), "files of these names lie in audio/, and in clips/, too");
}

#[test]
fn columns_that_may_say_what_belongs_together_are_told_where_nothing_else_does() {
    let told = |header: &str, row: &str| {
        let case = Case::new();
        let root = case.sounds(&["s/1.wav", "s/2.wav", "s/3.wav", "s/4.wav"]);
        let rows = (1..5).map(|n| format!("{n}.wav,{},{row}\n", ["owl", "rain"][n % 2])).collect::<String>();
        case.write("s/list.csv", format!("filename,category,{header}\n{rows}"));
        Catalog::open(&root).unwrap().notes.iter().any(|note| note.contains("may say which recordings belong together"))
    };
    for header in ["Speaker_ID", "client_id", "youtube id", "Original File Name", "session"] {
        assert!(told(header, "x"), "{header}");
    }
    for header in ["age", "id", "place", "identification", "take_off"] {
        assert!(!told(header, "x"), "{header}");
    }
    assert!(!told("speaker,source", "x,"));
}

#[test]
fn what_a_table_leaves_unsaid_or_says_in_vain_is_told() {
    let case = Case::new();
    let root = case.sounds(&["s/rain/1.wav", "s/rain/2.wav", "s/owl/3.wav", "s/owl/4.wav", "s/dog/5.wav"]);
    let list = "filename,category,set,speaker\nrain/1.wav,rain,a,x\nrain/2.wav,owl,b,x\nowl/3.wav,owl,a,y\n";
    case.write("s/list.csv", list);
    let catalog = acquire(&case.config(DataSource::Folder(root.clone()))).unwrap();
    noted(&catalog, "columns not read: set, speaker");
    noted(&catalog, "speaker may say which recordings belong together, and the folds made here do not heed it");
    noted(
        &catalog,
        "labels are those of list.csv; 1 of 3 files lie in a folder called after another class, as rain/2.wav, which is owl",
    );
    let report = audio_transformer::internals::dataset::verify::survey(&catalog).unwrap();
    assert_eq!(report.unlisted, 2, "owl/4.wav, and dog/5.wav in a folder that the table leaves out");
    // A quote that is not closed, and one fold for all.
    case.write("s/list.csv", "filename,category\nrain/1.wav,rain\nrain/2.wav,\"owl\nowl/3.wav,owl\n");
    refused(Catalog::open(&root), &["a quote not closed", "line 3"]);
    case.write("s/list.csv", "filename,category,split\nrain/1.wav,rain,train\nowl/3.wav,owl,train\n");
    refused(Catalog::open(&root), &["two folds or more", "`train` in every row"]);
    // Folds by the folders of files, as the Hugging Face's audio folders have them.
    let case = Case::new();
    let root = case.sounds(&["s/train/1.wav", "s/train/2.wav", "s/test/3.wav", "s/test/4.wav"]);
    case.write(
        "s/metadata.csv",
        "file_name,label\ntrain/1.wav,rain\ntrain/2.wav,owl\ntest/3.wav,rain\ntest/4.wav,owl\n",
    );
    let catalog = Catalog::open(&root).unwrap();
    assert_eq!(catalog.clips.iter().map(|clip| clip.fold).collect::<Vec<_>>(), [1, 1, 2, 2]);
    noted(&catalog, "train is fold 1, test is fold 2");
}

#[test]
fn a_point_in_a_name_begins_no_extension() {
    let case = Case::new();
    let names: Vec<String> =
        (0..4).flat_map(|n| ["rain", "owl"].map(|class| format!("s/audio/{class}.0000{n}.wav"))).collect();
    let root = case.sounds(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let bare = |name: &String| name.trim_start_matches("s/audio/").trim_end_matches(".wav").to_owned();
    let row = |name: &String| format!("{},{}\n", bare(name), bare(name).split('.').next().unwrap());
    let list: String = names.iter().map(row).collect();
    case.write("s/metadata.csv", format!("filename,category\n{list}"));
    let catalog = Catalog::open(&root).unwrap();
    assert_eq!(catalog.folds(), [1, 2, 3, 4]);
    assert!(catalog.clips.iter().all(|clip| clip.source.contains(".0000")));
}

#[test]
fn a_table_with_several_labels_a_recording_is_read_as_fsd50k_has_them() {
    let case = Case::new();
    let root =
        case.sounds(&["s/X.dev_audio/10.wav", "s/X.dev_audio/11.wav", "s/X.dev_audio/12.wav", "s/X.eval_audio/20.wav"]);
    let table = "fname,labels,mids,split\n10,\"Guitar,Music\",\"/m/1,/m/2\",train\n11,Rain,/m/3,train\n12,\"Piano,Music\",\"/m/4,/m/2\",val\n";
    let list = case.write("s/X.ground_truth/dev.csv", table);
    case.write("s/X.ground_truth/vocabulary.csv", "0,Guitar,/m/1\n1,Music,/m/2\n");
    // By the folder around all of it, and by the table.
    for catalog in [Catalog::open(&root).unwrap(), Catalog::from_table(&list).unwrap()] {
        assert_eq!(catalog.labels(), ["Guitar", "Music", "Piano", "Rain"]);
        assert_eq!(files(&catalog), ["X.dev_audio/10.wav", "X.dev_audio/11.wav", "X.dev_audio/12.wav"]);
        let classes: Vec<Vec<usize>> =
            catalog.clips.iter().map(|clip| clip.classes().map(|(_, target)| target).collect()).collect();
        assert_eq!(classes, [vec![0, 1], vec![3], vec![2, 1]]);
        assert_eq!(catalog.folds(), [1, 2]);
        assert!(catalog.notes.iter().any(|note| note.contains("several labels")), "{:?}", catalog.notes);
        // What stands on one class a recording refuses it, and says who takes it.
        let message = catalog.one_class_each().unwrap_err().to_string();
        assert!(message.contains("X.dev_audio/10.wav is Guitar and Music") && message.contains("probe"), "{message}");
    }
    let config = case.config(DataSource::Table(list));
    assert!(acquire(&config).unwrap().is_multi_label());
    assert!(matches!(open_catalog(&config), Err(Error::Dataset { .. })));
    // Both tables could be meant.
    case.write("s/X.ground_truth/eval.csv", "fname,labels,mids\n20,Rain,/m/3\n");
    let message = Catalog::open(&root).unwrap_err().to_string();
    assert!(message.contains("dev.csv, eval.csv"), "{message}");
}

#[test]
fn labels_are_taken_apart_only_where_they_are_several() {
    let case = Case::new();
    let root = case.sounds(&["s/1.wav", "s/2.wav", "s/3.wav", "s/4.wav"]);
    let open = |rows: [&str; 4], header: &str| {
        let row = |(n, label): (usize, &&str)| format!("{}.wav,\"{label}\"\n", n + 1);
        let rows: String = rows.iter().enumerate().map(row).collect();
        case.write("s/list.csv", format!("filename,{header}\n{rows}"));
        Catalog::open(&root)
    };
    let whole = open(["Speech, male", "Speech, female", "Dog", "Dog"], "category").unwrap();
    assert_eq!(whole.labels(), ["Dog", "Speech, female", "Speech, male"]);
    assert!(!whole.is_multi_label() && whole.notes[0].contains("one class by its whole name"), "{:?}", whole.notes);
    let several = open(["rain;wind", "wind", "rain", "wind; rain"], "category").unwrap();
    assert_eq!((several.labels(), several.is_multi_label()), (vec!["rain".into(), "wind".into()], true));
    // Without folds, recordings of every label are spread over them.
    assert_eq!(several.folds(), [1, 2, 3]);
    let lists = open(["['rain', 'wind']", "['wind']", "['rain']", "['sea, calm']"], "tags").unwrap();
    assert_eq!(lists.labels(), ["rain", "sea, calm", "wind"]);
    let message = open(["rain;;wind", "wind", "rain", "rain;wind"], "labels").unwrap_err().to_string();
    assert!(message.contains("line 2") && message.contains("none of them empty"), "{message}");
    // A row that is no list among lists is refused, not cut at its commas.
    let message = open(["['rain', 'wind']", "['wind']", "rain, wind", "['rain']"], "labels").unwrap_err().to_string();
    assert!(message.contains("line 4") && message.contains("a list of labels in brackets"), "{message}");
    // A number for each row says nothing of several labels.
    case.write(
        "s/list.csv",
        "filename,category,target\n1.wav,rain;wind,0\n2.wav,wind,1\n3.wav,rain,2\n4.wav,wind;rain,0\n",
    );
    let numbered = Catalog::open(&root).unwrap();
    assert_eq!(numbered.labels(), ["rain", "wind"]);
    assert!(numbered.notes.iter().any(|note| note.contains("passed over")), "{:?}", numbered.notes);
}

#[test]
fn a_file_name_without_an_extension_finds_the_one_recording_of_its_name() {
    let case = Case::new();
    let root = case.sounds(&["s/1.wav", "s/2.wav", "s/2.flac", "s/3.v2.wav", "s/4.wav"]);
    case.write("s/list.csv", "filename,category\n1,a\n2,a\n3.v2,b\n4.wav,b\n");
    assert_eq!(files(&Catalog::open(&root).unwrap()), ["1.wav", "2", "3.v2.wav", "4.wav"]);
    // Two rows that would lead to one recording do not.
    case.write("s/list.csv", "filename,category\n1,a\n1.wav,b\n4,a\n3.v2,b\n");
    assert_eq!(files(&Catalog::open(&root).unwrap()), ["1", "1.wav", "4.wav", "3.v2.wav"]);
}

#[test]
fn files_are_found_below_their_folds_and_in_another_form_of_unicode() {
    // As UrbanSound8K lies: the table in a folder of its own, the recordings in a folder for each fold.
    let case = Case::new();
    let root = case.sounds(&[
        "s/audio/fold1/a.wav",
        "s/audio/fold2/b.wav",
        "s/audio/fold1/c.wav",
        "s/audio/fold2/cafe\u{301}.wav",
    ]);
    let table =
        "slice_file_name,fold,classID,class\na.wav,1,3,dog\nb.wav,2,3,dog\nc.wav,1,5,rain\ncaf\u{e9}.wav,2,5,rain\n";
    case.write("s/metadata/Sounds.csv", table);
    let catalog = Catalog::open(&root).unwrap();
    assert!(catalog.clips.iter().all(|clip| catalog.path(clip).is_file()), "{:?}", files(&catalog));
    assert_eq!((catalog.labels(), catalog.folds()), (vec!["dog".into(), "rain".into()], vec![1, 2]));
    // A row that would lead to another row's file is left without one.
    let two = format!("{table}fold1/a.wav,1,5,rain\n");
    case.write("s/metadata/Sounds.csv", &two);
    let catalog = Catalog::open(&root).unwrap();
    let mut named = files(&catalog);
    named.sort();
    named.dedup();
    assert_eq!(named.len(), 5, "{named:?}");
    assert_eq!(catalog.clips.iter().filter(|clip| !catalog.path(clip).is_file()).count(), 1, "{named:?}");
    case.write("s/metadata/Sounds.csv", table);
    // Where several files could be meant, none is.
    case.sounds(&["s/audio/fold2/a.wav"]);
    let catalog = Catalog::open(&root).unwrap();
    assert!(!catalog.path(&catalog.clips[0]).is_file(), "{:?}", files(&catalog));
}

#[test]
fn files_are_found_in_another_case_where_one_alone_can_be_meant() {
    let case = Case::new();
    let root = case.sounds(&["s/a.WAV", "s/Sub/B.wav", "s/c.wav", "s/d.wav", "s/D.WAV", "s/e.wav"]);
    case.write(
        "s/list.csv",
        "filename,category\nA.wav,dog\nsub/b.WAV,dog\nc.wav,rain\nD.wav,rain\nE.wav,dog\ne.wav,rain\n",
    );
    let catalog = Catalog::open(&root).unwrap();
    // Two files could be D.wav, and e.wav has a row of its own.
    assert_eq!(files(&catalog), ["a.WAV", "Sub/B.wav", "c.wav", "D.wav", "E.wav", "e.wav"]);
    let labels: Vec<&str> = catalog.clips.iter().map(|clip| &*clip.category).collect();
    assert_eq!(labels, ["dog", "dog", "rain", "rain", "dog", "rain"]);
}

#[test]
fn all_rows_of_a_table_decide_where_its_files_are() {
    let case = Case::new();
    let table = "filename,category\n1.wav,bark\n2.wav,bark\n3.wav,rain\n4.wav,rain\n";
    // The first row's file is missing; the others lie in `audio`.
    let root = case.sounds(&["s/audio/2.wav", "s/audio/3.wav", "s/audio/4.wav"]);
    let list = case.write("s/list.csv", table);
    let catalog = Catalog::open(&root).unwrap();
    assert_eq!(catalog.audio_dir, root.join("audio"));
    // One of this name lies beside the table as well: most rows decide, and they have one of their own.
    case.sounds(&["s/audio/1.wav", "s/1.wav"]);
    assert_eq!(Catalog::open(&root).unwrap().audio_dir, root.join("audio"));
    // Some here, some there.
    fs::remove_file(case.path("s/audio/1.wav")).unwrap();
    fs::rename(case.path("s/audio/4.wav"), case.path("s/4.wav")).unwrap();
    fs::create_dir_all(case.path("s/clips")).unwrap();
    fs::rename(case.path("s/audio/3.wav"), case.path("s/clips/3.wav")).unwrap();
    let catalog = Catalog::open(&root).unwrap();
    assert_eq!(files(&catalog), ["1.wav", "audio/2.wav", "clips/3.wav", "4.wav"]);
    assert!(catalog.clips.iter().all(|clip| catalog.path(clip).is_file()));
    // And named as a data set, the table is one.
    let named = case.acquire(&list.to_string_lossy()).unwrap();
    assert_eq!(files(&named), files(&catalog));
    assert_eq!(named.name, "s");
}

#[test]
fn archives_as_people_pack_them_become_data_sets() {
    let wav = |seed| noise_wav(500, seed);
    let at = |top: &str| -> Files {
        ["bark/1.wav", "bark/2.wav", "rain/1.wav", "rain/2.wav"]
            .iter()
            .zip(0..)
            .map(|(name, seed)| (format!("{top}{name}"), wav(seed)))
            .collect()
    };
    let with = |mut files: Files, more: &[&str]| {
        files.extend(more.iter().map(|name| ((*name).to_owned(), b"whatever".to_vec())));
        files
    };
    let junk = ["__MACOSX/._bark", "sounds/.DS_Store", "sounds/bark/._1.wav", "Thumbs.db"];
    let packed = [
        ("class folders at the top", at("")),
        ("a dot in front", at("./")),
        ("one top folder", at("sounds/")),
        ("a top folder in a top folder of its name", at("bark/")),
        ("what a Mac adds", with(at("sounds/"), &junk)),
        ("a file beside class folders", with(at(""), &["README.txt"])),
        ("a file beside the top folder", with(at("sounds/"), &["README.txt"])),
    ];
    for (what, files) in packed {
        for (ending, bytes) in [("tar.gz", gzip(&pack(&files))), ("tar", pack(&files))] {
            let case = Case::new();
            let archive = case.write(&format!("my.{ending}"), bytes);
            let catalog = case.acquire(&archive.to_string_lossy()).unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_eq!(catalog.labels(), ["bark", "rain"], "{what}");
            assert_eq!(files.len().min(catalog.clips.len()), 4, "{what}");
        }
    }
}

#[test]
fn an_archive_that_changed_is_not_taken_for_what_was_unpacked() {
    let case = Case::new();
    let files = |class: &str| -> Files {
        let names = [format!("{class}/1.wav"), format!("{class}/2.wav"), "rain/1.wav".into(), "rain/2.wav".into()];
        names.into_iter().zip(0..).map(|(name, seed)| (name, noise_wav(500, seed))).collect()
    };
    let archive = case.write("my.tar.gz", gzip(&pack(&files("bark"))));
    let config = case.config(DataSource::Archive(archive.clone()));
    acquire(&config).unwrap();
    acquire(&config).unwrap();
    case.write("my.tar.gz", gzip(&pack(&files("meow"))));
    let error = acquire(&config).map(drop).unwrap_err();
    assert!(matches!(&error, Error::Dataset { found, .. } if found.contains("another archive")), "{error}");
    // Nor by who looks at what is there without acquiring it.
    assert_eq!(open_catalog(&config).map(drop).unwrap_err().to_string(), error.to_string());
    fs::remove_dir_all(case.path("raw")).unwrap();
    assert_eq!(acquire(&config).unwrap().labels(), ["meow", "rain"]);
    fs::remove_file(&archive).unwrap();
    assert_eq!(open_catalog(&config).unwrap().labels(), ["meow", "rain"]);
}

#[test]
fn what_is_no_data_set_is_told_for_what_it_is() {
    let case = Case::new();
    let told = |name: &str, words: &[&str]| {
        let path = case.write(name, b"whatever");
        let error = case.acquire(&path.to_string_lossy()).map(drop).unwrap_err().to_string();
        for word in words {
            assert!(error.contains(word), "{name}: no {word:?} in: {error}");
        }
        assert!(!error.contains("a source you trust"), "{name}: {error}");
    };
    told("bell.WAV", &["a .WAV file", "data/test/"]);
    told("song.mp3", &["a .mp3 file", "data/test/"]);
    told("sounds.zip", &["a .zip file", "tar czf"]);
    told("labels.xlsx", &["Save it as a CSV"]);
    told("net.safetensors", &["Name a folder"]);
    told("notes", &["other data", "tar czf"]);
    told("broken.tar.gz", &["other data", "tar czf"]);
    told("no-columns.csv", &["filename, category"]);
    let missing = case.acquire("~/sounds").map(drop).unwrap_err().to_string();
    assert!(missing.contains("$HOME"), "{missing}");
    let missing = case.acquire(&case.path("nowhere.tar.gz").to_string_lossy()).map(drop).unwrap_err();
    assert!(matches!(&missing, Error::Dataset { found, .. } if found.contains("none of this name")), "{missing}");
}
