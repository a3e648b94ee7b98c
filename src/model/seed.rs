//! libtorch draws all random numbers of a process from one generator: those who need the numbers of a seed take turns.

use std::fs::File;
use std::sync::{Mutex, PoisonError};

/// The turn among threads that share this copy of the crate.
static GENERATOR: Mutex<()> = Mutex::new(());

/// Runs `work` with libtorch's random numbers those of a seed, whatever other threads do.
pub fn with_seed<T>(seed: u64, work: impl FnOnce() -> T) -> T {
    let _turn = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
    let _turn_among_copies = lock_process();
    tch::manual_seed(seed as i64);
    work()
}

/// The turn among all threads of the process. Each cell of a notebook has a copy of this crate with statics of its own, while a
/// file is the same for them all. Where none can be made, the static has to do.
fn lock_process() -> Option<File> {
    let path = std::env::temp_dir().join(format!("audio_transformer-{}.lock", std::process::id()));
    let file = File::create(path).ok()?;
    file.lock().ok()?;
    Some(file)
}
