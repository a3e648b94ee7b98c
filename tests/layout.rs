//! The plan of the house: data flows one way, and a module uses only what stands before it.
//!
//! The `mod` lines of `lib.rs` and of each folder are the order. A folder's own `mod.rs` comes after all its files, whose face it
//! is. Only the code counts, not its tests and comments.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The folders of `src/`, in the order data flows through them, and what is allowed beside them.
const FOLDERS: [&str; 11] = [
    "files",
    "front_end",
    "config",
    "dataset",
    "hub",
    "model",
    "distributed",
    "training",
    "results",
    "transfer",
    "show",
];

/// A source file: its module path and the text that is compiled outside of tests.
struct Module {
    path: Vec<String>,
    file: PathBuf,
    code: String,
}

/// All modules from the first in the flow to the last.
fn modules() -> Vec<Module> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    collect(&src.join("lib.rs"), &src, &[], &mut found);
    found
}

fn collect(file: &Path, folder: &Path, path: &[String], found: &mut Vec<Module>) {
    let text = fs::read_to_string(file).unwrap();
    let code = outside_tests(&text);
    for name in declared(&code) {
        let (alone, in_folder) = (folder.join(format!("{name}.rs")), folder.join(&name).join("mod.rs"));
        let file = if alone.is_file() { &alone } else { &in_folder };
        let inner = [path, std::slice::from_ref(&name)].concat();
        collect(file, &folder.join(&name), &inner, found);
    }
    found.push(Module { path: path.to_vec(), file: file.to_path_buf(), code });
}

/// The text without comments and without the `mod tests` at its end.
fn outside_tests(text: &str) -> String {
    let tests = ["#[cfg(test)]\nmod tests {", "#[cfg(test)]\npub(super) mod tests {"];
    let end = tests.iter().filter_map(|start| text.find(start)).min().unwrap_or(text.len());
    let lines = text[..end].lines().map(|line| line.split("//").next().unwrap_or_default());
    lines.map(|line| format!("{line}\n")).collect()
}

/// The modules that a file declares at its top level, in their order.
fn declared(code: &str) -> Vec<String> {
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let declaration = |line: &str| match &words(line)[..] {
        [.., word, name] if word == "mod" && !line.starts_with(' ') => name.strip_suffix(';').map(str::to_owned),
        _ => None,
    };
    code.lines().filter_map(declaration).collect()
}

/// Every path in the code that starts at `crate`, `super` or `self`, without its braces: `crate::a::{b, c::d}` is two.
fn paths(code: &str, here: &[String]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for start in ["crate::", "super::", "self::"] {
        for (at, _) in code.match_indices(start) {
            let before = code[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':' || c == '$') {
                continue;
            }
            let base = match start {
                "crate::" => Vec::new(),
                "self::" => here.to_vec(),
                _ => here[..here.len().saturating_sub(1)].to_vec(),
            };
            expand(&code[at + start.len()..], base, &mut found);
        }
    }
    found
}

/// Reads `a::b::{c, d::e}` behind a base, and leaves off at whatever else comes.
fn expand(text: &str, base: Vec<String>, found: &mut Vec<Vec<String>>) {
    let mut path = base;
    let mut rest = text;
    loop {
        if let Some(inner) = rest.strip_prefix('{') {
            for item in items(inner) {
                expand(item.trim_start(), path.clone(), found);
            }
            return;
        }
        let name_len = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        path.push(rest[..name_len].to_owned());
        match rest[name_len..].strip_prefix("::") {
            Some(more) => rest = more,
            None => return found.push(path),
        }
    }
}

/// The parts of `a, b::{c, d}, e}` between the commas of the outermost braces.
fn items(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                parts.push(&text[start..at]);
                return parts.into_iter().filter(|part| !part.trim().is_empty()).collect();
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts
}

/// The uses that run back up the flow, as `file: path`.
fn arrows_up(modules: &[Module]) -> Vec<String> {
    let place: HashMap<&[String], usize> = modules.iter().map(|module| &module.path[..]).zip(0..).collect();
    let mut up = Vec::new();
    for (own, module) in modules.iter().enumerate() {
        for path in paths(&module.code, &module.path) {
            // The longest front part that is a module is the file the path leads to.
            let target = (0..=path.len()).rev().find_map(|n| place.get(&path[..n]).copied());
            if target.is_some_and(|target| target > own) {
                up.push(format!("{}: {}", module.file.display(), path.join("::")));
            }
        }
    }
    up
}

#[test]
fn a_module_uses_only_what_stands_before_it() {
    let modules = modules();
    assert!(modules.len() > 80, "only {} modules were found", modules.len());
    let up = arrows_up(&modules);
    assert!(up.is_empty(), "declare the one before the other, or part what holds both:\n{}", up.join("\n"));
}

#[test]
fn every_source_file_stands_in_one_of_the_folders_and_is_declared() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut entries: Vec<String> =
        fs::read_dir(&src).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    entries.sort();
    let mut expected: Vec<String> = FOLDERS.iter().map(|folder| (*folder).to_owned()).collect();
    expected.extend(["error.rs".to_owned(), "lib.rs".to_owned()]);
    expected.sort();
    assert_eq!(entries, expected);
    let declared: Vec<PathBuf> = modules().into_iter().map(|module| module.file).collect();
    let mut folders = vec![src];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                assert!(declared.contains(&path), "{} is declared nowhere", path.display());
            }
        }
    }
}

#[test]
fn an_arrow_back_up_is_found_in_any_form() {
    let module = |path: &[&str], code: &str| Module {
        path: path.iter().map(|name| (*name).to_owned()).collect(),
        file: PathBuf::from(path.join("/")),
        code: outside_tests(code),
    };
    let house = |early: &str| {
        let modules =
            [module(&["early"], early), module(&["late", "file"], ""), module(&["late"], ""), module(&[], "")];
        arrows_up(&modules).len()
    };
    assert_eq!(house("use crate::late::file::Thing;"), 1);
    assert_eq!(house("use crate::{early::x, late::{file::Thing, y}};"), 2);
    assert_eq!(house("fn f() { super::late::file::g() }"), 1);
    assert_eq!(house("use crate::Error;"), 1, "what lib.rs shows again stands behind everything");
    assert_eq!(house("// crate::late\n/// [`crate::late`]\nuse crate::early::x; use std::late;"), 0);
    assert_eq!(house("#[cfg(test)]\nmod tests {\n use crate::late;\n}"), 0);
}
