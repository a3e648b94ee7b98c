//! The demo data set for a test: a clip per class and fold, with every folder under one root.

use std::path::Path;

use audio_transformer::config::{DataConfig, DataSource};

pub fn data_under(root: &Path) -> DataConfig {
    DataConfig {
        source: DataSource::Demo,
        raw_dir: root.join("raw"),
        metadata_path: None,
        processed_dir: root.join("processed"),
        test_dir: root.join("test"),
        models_dir: root.join("models"),
        demo_clips_per_fold: 1,
        ..Default::default()
    }
}
