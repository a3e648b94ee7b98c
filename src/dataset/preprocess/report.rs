//! What preprocessing did.

use std::fmt;
use std::time::Duration;

use crate::error::Error;

/// What the stage did.
#[derive(Debug, Default)]
pub struct PreprocessReport {
    /// Recordings read and turned into spectrograms now.
    pub computed: usize,
    /// Recordings whose spectrograms were still good.
    pub reused: usize,
    /// Spectrograms in `metadata.csv`.
    pub spectrograms: usize,
    /// Files of many spectrograms that they lie in; 0 where each has a file of its own.
    pub shards: usize,
    /// Windows of long recordings computed now that were left out because nothing sounds in them.
    pub silent: usize,
    /// Recordings left out, with the reason.
    pub failed: Vec<(String, Error)>,
    /// Time taken by telling what every recording holds; part of `elapsed`.
    pub compared: Duration,
    /// Time taken.
    pub elapsed: Duration,
}

impl fmt::Display for PreprocessReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let elapsed_s = self.elapsed.as_secs_f64();
        write!(f, "{} spectrograms", self.spectrograms)?;
        match self.shards {
            0 => {}
            1 => write!(f, " in a shard")?,
            n => write!(f, " in {n} shards")?,
        }
        let (computed, reused, failed) = (self.computed, self.reused, self.failed.len());
        write!(f, ": {computed} recordings computed, {reused} reused, {failed} failed, in {elapsed_s:.1} s")?;
        if self.reused > 0 {
            write!(f, ", {:.2} s of it to compare what the files hold", self.compared.as_secs_f64())?;
        }
        if self.silent > 0 {
            write!(f, "\n  left out {} windows of long recordings in which nothing sounds", self.silent)?;
        }
        for (filename, error) in &self.failed {
            write!(f, "\n  left out {filename}: {error}")?;
        }
        Ok(())
    }
}
