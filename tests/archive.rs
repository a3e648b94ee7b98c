//! Claims about unpacking: what a sound archive becomes, and that a damaged or hostile one leaves nothing behind.
#![cfg(feature = "download")]

#[path = "support/archives.rs"]
mod archives;

use std::fs;
use std::path::PathBuf;

use archives::{Files, assert_unpacked, esc50_files, gzip, listing, noise_wav, pack};
use audio_transformer::internals::dataset::archive::Limits;
use audio_transformer::internals::dataset::download::{ArchiveSource, DownloadOptions, Fetched, fetch_dataset};
use audio_transformer::{Error, Result};
use tar::EntryType;
use tempfile::TempDir;

/// An archive file in a folder of its own, and where it is to be unpacked.
struct Case {
    folder: TempDir,
    limits: Limits,
}

impl Case {
    fn new(archive: &[u8]) -> Self {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("set.tar.gz"), archive).unwrap();
        Case { folder, limits: Limits::default() }
    }

    fn destination(&self) -> PathBuf {
        self.folder.path().join("raw/ESC-50-master")
    }

    fn fetch(&self) -> Result<Fetched> {
        let source = ArchiveSource::File(self.folder.path().join("set.tar.gz"));
        fetch_dataset(
            &source,
            &self.destination(),
            &DownloadOptions { limits: self.limits.clone(), ..Default::default() },
        )
    }

    /// Fails unless the archive is refused, with these words, and nothing of it is left.
    #[track_caller]
    fn is_refused(&self, words: &[&str]) -> Error {
        let error = self.fetch().expect_err("refused");
        let message = error.to_string();
        for word in words {
            assert!(message.contains(word), "no {word:?} in: {message}");
        }
        assert!(!message.contains(".part"), "the folder beside is nobody's business: {message}");
        assert_eq!(listing(&self.folder.path().join("raw")), [""; 0], "left behind after: {message}");
        error
    }
}

/// Two short clips listed by a table: the smallest data set that passes.
fn small_files() -> Files {
    vec![
        ("set/clips.csv".into(), b"filename,category\na.wav,hiss\nb.wav,rush\n".to_vec()),
        ("set/audio/a.wav".into(), noise_wav(50, 1)),
        ("set/audio/b.wav".into(), noise_wav(50, 2)),
    ]
}

/// One tar entry byte by byte, because the tar crate writes no unsafe ones.
fn entry(name: &[u8], kind: EntryType, content: &[u8]) -> Vec<u8> {
    let mut bytes = entry_claiming(name, kind, content.len() as u64);
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn entry_claiming(name: &[u8], kind: EntryType, size: u64) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.as_mut_bytes()[..name.len()].copy_from_slice(name);
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_cksum();
    header.as_bytes().to_vec()
}

/// The small data set after, or before, further entries.
fn with(further: &[Vec<u8>]) -> Case {
    Case::new(&gzip(&[further.concat(), pack(&small_files())].concat()))
}

fn after(further: &[Vec<u8>]) -> Case {
    let mut tar = pack(&small_files());
    tar.truncate(tar.len() - 1024);
    tar.extend(further.concat());
    tar.extend([0; 1024]);
    Case::new(&gzip(&tar))
}

#[track_caller]
fn is_refused_as_archive(case: &Case, words: &[&str]) {
    let error = case.is_refused(words);
    assert!(matches!(error, Error::Archive { .. }), "{error}");
}

#[test]
fn a_sound_archive_becomes_a_verified_folder_without_its_top() {
    let files = esc50_files();
    let case = Case::new(&gzip(&pack(&files)));
    let fetched = case.fetch().unwrap();
    assert_unpacked(&case.destination(), &files);
    assert_eq!(listing(&case.folder.path().join("raw")), ["ESC-50-master"]);
    assert_eq!(fetched.files, 6);
    assert_eq!(fetched.unpacked_bytes, files.iter().map(|(_, content)| content.len() as u64).sum::<u64>());
    assert_eq!(fetched.archive_bytes, fs::metadata(case.folder.path().join("set.tar.gz")).unwrap().len());
    assert_eq!(
        (fetched.report.clips, fetched.report.num_classes, fetched.report.folds, fetched.report.wavs),
        (4, 2, 2, 4)
    );
}

#[test]
fn headers_as_github_and_macos_write_them_are_no_obstacle() {
    let long = "deep/".repeat(40) + "note.txt";
    let pax = format!("path=set/{long}\n");
    let pax = format!("{} {pax}", pax.len() + 4);
    let case = with(&[
        entry(b"pax_global_header", EntryType::XGlobalHeader, b"52 comment=0123456789012345678901234567890123456789\n"),
        entry(b"./set/", EntryType::Directory, b""),
        entry(b"._set", EntryType::Regular, b"attributes"),
        entry(b"set/audio/", EntryType::Directory, b""),
        entry(b"set/audio/._a.wav", EntryType::Regular, b"attributes"),
        entry(b"PaxHeader", EntryType::XHeader, pax.as_bytes()),
        entry(b"set/short", EntryType::Regular, b"pax"),
        entry(b"././@LongLink", EntryType::GNULongName, format!("set/gnu/{long}\0").as_bytes()),
        entry(b"set/short", EntryType::Regular, b"gnu"),
    ]);
    case.fetch().unwrap();
    let root = case.destination();
    assert_eq!(listing(&root), ["audio", "clips.csv", "deep", "gnu"]);
    assert_eq!(listing(&root.join("audio")), ["a.wav", "b.wav"]);
    assert_eq!(fs::read(root.join(&long)).unwrap(), b"pax");
    assert_eq!(fs::read(root.join("gnu").join(&long)).unwrap(), b"gnu");
}

#[test]
fn gzip_in_several_members_is_one_archive() {
    let tar = pack(&small_files());
    let (first, second) = tar.split_at(700);
    let case = Case::new(&[gzip(first), gzip(second)].concat());
    case.fetch().unwrap();
    assert_unpacked(&case.destination(), &small_files());
}

#[test]
fn a_path_that_leaves_the_folder_is_refused() {
    for (name, words) in [
        (&b"set/../../evil"[..], "climbs out"),
        (b"../evil", "climbs out"),
        (b"set/audio/../evil", "climbs out"),
        (b"/etc/evil", "absolute"),
        (b"set\\..\\..\\evil", "backslash"),
        (b"set/\xFF", "encoding"),
    ] {
        is_refused_as_archive(&after(&[entry(name, EntryType::Regular, b"x")]), &[words]);
        is_refused_as_archive(&with(&[entry(name, EntryType::Directory, b"")]), &[words]);
    }
    let long = "x".repeat(1100);
    let name = entry(b"././@LongLink", EntryType::GNULongName, format!("set/{long}").as_bytes());
    is_refused_as_archive(&after(&[name, entry(b"set/short", EntryType::Regular, b"x")]), &["1104 bytes"]);
}

#[test]
fn links_devices_and_pipes_are_refused() {
    for (kind, words) in [
        (EntryType::Symlink, "symbolic link"),
        (EntryType::Link, "hard link"),
        (EntryType::Char, "device"),
        (EntryType::Block, "device"),
        (EntryType::Fifo, "pipe"),
        (EntryType::new(b'Z'), "another kind"),
    ] {
        is_refused_as_archive(&after(&[entry(b"set/audio/c.wav", kind, b"")]), &["set/audio/c.wav", words]);
    }
}

#[test]
fn sizes_beyond_the_limits_are_refused_before_they_are_written() {
    let claims = |size| after(&[entry_claiming(b"set/big", EntryType::Regular, size)]);
    is_refused_as_archive(&claims(5 << 30), &["set/big", "4294967296", "5368709120"]);
    is_refused_as_archive(&claims(u64::MAX), &[]);
    let mut case = after(&[entry(b"set/more", EntryType::Regular, &[1; 3000])]);
    case.limits.total_bytes = 3200;
    is_refused_as_archive(&case, &["set/more", "at most 3200 bytes in all files"]);
    let folders: Vec<_> =
        (0..20).map(|index| entry(format!("set/{index}/").as_bytes(), EntryType::Directory, b"")).collect();
    let mut case = with(&folders);
    case.limits.entries = 22;
    is_refused_as_archive(&case, &["22 entries"]);
    case.limits.entries = 23;
    case.fetch().unwrap();
}

#[test]
fn headers_cannot_fill_the_memory() {
    for kind in [EntryType::GNULongName, EntryType::XHeader, EntryType::XGlobalHeader, EntryType::GNULongLink] {
        let case = with(&[entry(b"header", kind, &vec![b'x'; 2 << 20])]);
        is_refused_as_archive(&case, &["1048576 bytes of headers"]);
    }
}

#[test]
fn a_path_given_twice_is_refused() {
    is_refused_as_archive(&after(&[entry(b"set/./audio//a.wav", EntryType::Regular, b"other")]), &["a.wav", "already"]);
    is_refused_as_archive(&after(&[entry(b"set/audio/a.wav/", EntryType::Directory, b"")]), &["a.wav", "already"]);
    is_refused_as_archive(&after(&[entry(b"set/audio/a.wav/b", EntryType::Regular, b"")]), &["a.wav", "already"]);
    is_refused_as_archive(&after(&[entry(b"set/audio", EntryType::Regular, b"")]), &["already"]);
}

#[test]
fn an_archive_without_files_is_refused() {
    is_refused_as_archive(&Case::new(&gzip(&[0; 1024])), &["with files", "none"]);
    is_refused_as_archive(&Case::new(&gzip(&entry(b"set/", EntryType::Directory, b""))), &["with files", "none"]);
}

#[test]
fn an_archive_cut_anywhere_is_refused() {
    let whole = gzip(&pack(&small_files()));
    let ends = whole.len() - 12..whole.len();
    for length in (0..whole.len()).step_by(7).chain(ends) {
        let words = if length < 2 { "empty" } else { "short" };
        is_refused_as_archive(&Case::new(&whole[..length]), &[words]);
    }
}

#[test]
fn a_tar_that_ends_within_a_file_is_refused_whatever_gzip_says() {
    let tar = pack(&small_files());
    for length in [100, 512, 700, 1200] {
        is_refused_as_archive(&Case::new(&gzip(&tar[..length])), &[]);
    }
}

#[test]
fn a_flipped_bit_is_refused_or_harmless() {
    let files = small_files();
    let whole = gzip(&pack(&files));
    let mut refused = 0;
    for position in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[position] ^= 1 << (position % 8);
        let case = Case::new(&flipped);
        match case.fetch() {
            Ok(_) => assert_unpacked(&case.destination(), &files),
            Err(_) => {
                assert_eq!(listing(&case.folder.path().join("raw")), [""; 0]);
                refused += 1;
            }
        }
    }
    // What may pass: time and system in the gzip header, and lengths of codes that are never used.
    assert!(refused > whole.len() * 9 / 10, "{refused} of {} refused", whole.len());
}

#[test]
fn no_byte_of_a_tar_can_write_outside_the_folder() {
    let tar = pack(&small_files());
    for position in 0..tar.len() {
        // All of the headers, and a sample of the rest.
        if tar[position] == 0 && position % 23 != 0 {
            continue;
        }
        let mut changed = tar.clone();
        changed[position] = b"/.\0x\xFF7"[position % 5];
        // A header whose checksum is right again, as an attacker would make it.
        let header = position / 512 * 512;
        let sum: u32 =
            (0..512).map(|at| u32::from(if (148..156).contains(&at) { b' ' } else { changed[header + at] })).sum();
        changed[header + 148..header + 156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let case = Case::new(&gzip(&changed));
        let done = case.fetch().is_ok();
        assert_eq!(listing(case.folder.path()), ["raw", "set.tar.gz"], "byte {position}");
        assert_eq!(listing(&case.folder.path().join("raw")).len(), usize::from(done), "byte {position}");
    }
}

#[test]
fn anything_after_the_end_is_refused() {
    let tar = pack(&small_files());
    is_refused_as_archive(
        &Case::new(&[gzip(&tar), b"stray bytes, many more than one".to_vec()].concat()),
        &["after its end"],
    );
    is_refused_as_archive(&Case::new(&gzip(&[&tar[..], b"stray"].concat())), &["after the last entry"]);
    is_refused_as_archive(&Case::new(&gzip(&[tar, vec![0; 2 << 20]].concat())), &["padding"]);
}

#[test]
fn what_is_no_gzip_is_told_for_what_it_is() {
    is_refused_as_archive(&Case::new(b"<!DOCTYPE html><html>Not here</html>"), &["a web page"]);
    is_refused_as_archive(&Case::new(b"PK\x03\x04 and more"), &["a zip archive: repack it as .tar.gz"]);
    is_refused_as_archive(&Case::new(b"BZh91AY"), &["bzip2"]);
    is_refused_as_archive(&Case::new(b"other data than a tar"), &["other data"]);
    is_refused_as_archive(&Case::new(b""), &["an empty file"]);
    is_refused_as_archive(
        &Case::new(&gzip(b"not a tar, though long enough to be one".repeat(40).as_slice())),
        &["tar"],
    );
}

#[test]
fn a_data_set_that_does_not_fit_its_table_is_refused() {
    let dataset = |files: &Files, words: &[&str]| {
        let error = Case::new(&gzip(&pack(files))).is_refused(words);
        assert!(matches!(error, Error::Dataset { .. }), "{error}");
    };
    let mut files = esc50_files();
    let (name, _) = files.pop().unwrap();
    let name = name.rsplit_once('/').unwrap().1.to_string();
    dataset(&files, &["ESC-50-master", &name, "a row without a file"]);
    files.push((format!("ESC-50-master/audio/{name}"), b"RIFF, but no WAV".to_vec()));
    dataset(&files, &[&name]);
    files.pop();
    files.push((format!("ESC-50-master/audio/{name}"), noise_wav(220_499, 3)));
    dataset(&files, &[&name, "220500 frames", "220499 frames"]);

    let mut files = esc50_files();
    files.push(("ESC-50-master/audio/c.wav".into(), noise_wav(50, 3)));
    dataset(&files, &["audio: ", "c.wav (a file without a row)", "Nothing was unpacked"]);

    let mut files = small_files();
    for (_, content) in &mut files[1..] {
        content.clear();
    }
    dataset(&files, &["2 that cannot: a.wav (", "Nothing was unpacked"]);
    files[0].1 = b"filename,colour\na.wav,hiss\n".to_vec();
    files[0].0 = "set/metadata.csv".into();
    let error = Case::new(&gzip(&pack(&files))).is_refused(&["ESC-50-master/metadata.csv", "no category"]);
    assert!(matches!(error, Error::Table { .. }), "{error}");
}

#[test]
fn a_persons_archive_may_hold_files_that_cannot_be_read_or_are_not_listed() {
    let mut files = small_files();
    files[1].1.clear();
    files.push(("set/audio/c.wav".into(), noise_wav(50, 3)));
    let report = Case::new(&gzip(&pack(&files))).fetch().unwrap().report;
    assert_eq!((report.clips, report.wavs, report.faults.len(), report.unlisted), (2, 1, 1, 1));
    assert_eq!(report.faults[0].0, "a.wav");
}

#[test]
fn a_good_destination_stays_as_it_is() {
    let files = small_files();
    let case = Case::new(&gzip(&pack(&files)));
    case.fetch().unwrap();
    for archive in [gzip(&pack(&esc50_files())), b"PK\x03\x04".to_vec()] {
        fs::write(case.folder.path().join("set.tar.gz"), archive).unwrap();
        let error = case.fetch().unwrap_err();
        assert!(error.to_string().contains("something in it"), "{error}");
        assert_unpacked(&case.destination(), &files);
        assert_eq!(listing(&case.folder.path().join("raw")), ["ESC-50-master"]);
    }
}

#[test]
fn an_empty_destination_is_filled() {
    let case = Case::new(&gzip(&pack(&small_files())));
    fs::create_dir_all(case.destination()).unwrap();
    case.fetch().unwrap();
    assert_unpacked(&case.destination(), &small_files());
}

#[test]
fn what_a_dead_run_left_is_removed_and_a_living_run_is_left_alone() {
    let case = Case::new(&gzip(&pack(&small_files())));
    let raw = case.folder.path().join("raw");
    let (dead, alive, other) = (".ESC-50-master.4000001.part", ".ESC-50-master.4000002.part", ".demo.4000003.part");
    for folder in [dead, alive, other] {
        fs::create_dir_all(raw.join(folder).join("audio")).unwrap();
    }
    let lock = fs::File::open(raw.join(alive)).unwrap();
    lock.lock().unwrap();
    case.fetch().unwrap();
    assert_eq!(listing(&raw), [alive, other, "ESC-50-master"]);
}

#[test]
fn a_file_where_a_folder_should_be_is_told_by_name() {
    let case = Case::new(&gzip(&pack(&small_files())));
    fs::write(case.folder.path().join("raw"), "in the way").unwrap();
    let error = case.fetch().unwrap_err();
    assert!(matches!(&error, Error::Io { path, .. } if path.ends_with("raw")), "{error}");
    assert_eq!(fs::read(case.folder.path().join("raw")).unwrap(), b"in the way");
}

#[test]
fn an_archive_that_is_missing_or_a_folder_is_told_by_name() {
    let case = Case::new(b"");
    fs::remove_file(case.folder.path().join("set.tar.gz")).unwrap();
    assert!(matches!(case.is_refused(&["set.tar.gz"]), Error::Io { .. }));
    fs::create_dir(case.folder.path().join("set.tar.gz")).unwrap();
    is_refused_as_archive(&case, &["set.tar.gz", "a folder"]);
}
