//! A network by its name on the hub.

use std::path::{Path, PathBuf};

use tch::Device;

use super::folder::{CONFIG_FILE, Description, PREPROCESSOR_FILE, WEIGHTS_FILE, free_memory};
use super::network::Pretrained;
use crate::error::Result;
use crate::hub::{Hub, HubName};

impl Pretrained {
    /// Opens a network by its name on the hub, `hub:owner/name`, or by its folder. What the cache has is not asked for; of what has to be
    /// fetched, the description comes first: a network that is of no known kind, or that this machine has no memory for, costs no more.
    ///
    /// # Errors
    /// As [`Pretrained::open`] and [`Hub::fetch`]; [`crate::Error::Config`] when there is too little memory.
    pub fn named(name: impl AsRef<Path>, hub: &Hub, device: Device) -> Result<Self> {
        Self::open(&place_of(name.as_ref(), hub)?, device)
    }
}

/// Where the network of a name lies: a path as it is, and of the hub the folder, once it is there.
///
/// # Errors
/// As [`Pretrained::named`].
pub(crate) fn place_of(name: &Path, hub: &Hub) -> Result<PathBuf> {
    let Some(on_hub) = name.to_str().filter(|name| HubName::is_one(name)) else { return Ok(name.into()) };
    let name = HubName::parse(on_hub)?;
    let folder = hub.fetch(&name, &[CONFIG_FILE, PREPROCESSOR_FILE])?;
    let description = Description::read(&folder)?;
    description.check_memory(free_memory())?;
    if !folder.join(WEIGHTS_FILE).is_file() {
        println!("{name}: {description}");
    }
    // The weights are those of the description, whatever has been published since.
    let commit = folder.file_name().and_then(|commit| commit.to_str()).unwrap_or_default().to_owned();
    hub.fetch(&HubName { revision: commit, ..name }, &[CONFIG_FILE, PREPROCESSOR_FILE, WEIGHTS_FILE])
}
