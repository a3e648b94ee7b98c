//! libtorch draws all random numbers of a process from one generator: those who need the numbers of a seed take turns.

use std::fs::File;
use std::sync::{Mutex, OnceLock, PoisonError};

/// The turn among threads that share this copy of the crate.
static GENERATOR: Mutex<()> = Mutex::new(());

/// Runs `work` with libtorch's random numbers those of a seed, whatever other threads do.
pub fn with_seed<T>(seed: u64, work: impl FnOnce() -> T) -> T {
    let _turn = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
    let _turn_among_copies = ProcessTurn::take();
    tch::manual_seed(seed as i64);
    work()
}

/// The turn among all threads of the process. Each cell of a notebook has a copy of this crate with statics of its own, while a
/// file is the same for them all. Where none can be made, the static has to do.
struct ProcessTurn(Option<&'static File>);

impl ProcessTurn {
    fn take() -> Self {
        static FILE: OnceLock<Option<File>> = OnceLock::new();
        let path = || std::env::temp_dir().join(format!("audio_transformer-{}.lock", std::process::id()));
        let file = FILE.get_or_init(|| File::create(path()).ok());
        ProcessTurn(file.as_ref().filter(|file| file.lock().is_ok()))
    }
}

impl Drop for ProcessTurn {
    fn drop(&mut self) {
        if let Some(file) = self.0 {
            // What cannot be let go now is let go when the process ends.
            let _ = file.unlock();
        }
    }
}
