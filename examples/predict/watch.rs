//! Recordings as they come into folders.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use audio_transformer::Result;
use audio_transformer::catalog::audio_files;

/// Between two looks. A file that is the same in both is taken for whole.
const INTERVAL: Duration = Duration::from_secs(1);

/// A file's size and time.
type Stamp = (u64, Option<SystemTime>);

/// Folders that are looked into again and again.
pub struct Watch {
    folders: Vec<PathBuf>,
    /// What is known, and needs no look.
    known: HashMap<PathBuf, Stamp>,
    /// What was new or another one at the last look.
    growing: HashMap<PathBuf, Stamp>,
}

impl Watch {
    /// Begins with what is in the folders now, which is passed over.
    pub fn new(folders: Vec<PathBuf>) -> Result<Self> {
        let mut watch = Watch { folders, known: HashMap::new(), growing: HashMap::new() };
        watch.known = watch.look()?;
        Ok(watch)
    }

    /// Waits for recordings that came or changed since, and have stopped growing.
    pub fn next(&mut self) -> Result<Vec<PathBuf>> {
        loop {
            std::thread::sleep(INTERVAL);
            let found = self.look()?;
            let mut whole: Vec<PathBuf> = Vec::new();
            let mut growing = HashMap::new();
            for (path, stamp) in found {
                match () {
                    _ if self.known.get(&path) == Some(&stamp) => {}
                    _ if self.growing.get(&path) == Some(&stamp) => {
                        self.known.insert(path.clone(), stamp);
                        whole.push(path);
                    }
                    _ => _ = growing.insert(path, stamp),
                }
            }
            self.growing = growing;
            if !whole.is_empty() {
                whole.sort();
                return Ok(whole);
            }
        }
    }

    fn look(&self) -> Result<HashMap<PathBuf, Stamp>> {
        let mut found = HashMap::new();
        for folder in &self.folders {
            for path in audio_files(folder)?.files.into_iter().map(|name| folder.join(name)) {
                // One that is gone by now is none.
                if let Ok(metadata) = path.metadata() {
                    found.insert(path, (metadata.len(), metadata.modified().ok()));
                }
            }
        }
        Ok(found)
    }
}
