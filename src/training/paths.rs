//! Where a run keeps what it leaves.

use std::path::PathBuf;

use crate::config::Config;

/// Where the config's run keeps its weights.
pub fn checkpoint_path(config: &Config) -> PathBuf {
    config.data.models_dir.join(format!("{}-{}.safetensors", config.train.run_name, config.data.name()))
}

/// Where the config's run keeps its history.
pub fn history_path(config: &Config) -> PathBuf {
    config.data.models_dir.join(format!("{}-{}-history.csv", config.train.run_name, config.data.name()))
}

/// Where the config's run keeps its state while it is not finished.
pub fn state_path(config: &Config) -> PathBuf {
    config.data.models_dir.join(format!("{}-{}.state.safetensors", config.train.run_name, config.data.name()))
}
