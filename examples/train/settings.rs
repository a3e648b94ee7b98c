//! A file of settings: those of the notebook, laid over a preset.

use std::fs;
use std::path::Path;

use audio_transformer::FineTune;
use audio_transformer::config::{Config, Preset};
use serde_json::{Map, Value};

/// Settings that hold others, which are laid over one by one.
const GROUPS: [&str; 7] = ["data", "clip", "features", "model", "train", "train.augment", "fine_tune"];

/// What a file of settings says.
pub struct Settings {
    pub preset: Preset,
    pub config: Config,
    /// A network from elsewhere that is trained on, in the place of TinyAST, and how.
    pub network: Option<(String, FineTune)>,
}

impl Settings {
    /// Reads TOML or JSON, by the name's ending.
    pub fn read(path: &Path) -> Result<Self, String> {
        let named = |problem: String| format!("{}: {problem}", path.display());
        let text = fs::read_to_string(path).map_err(|error| named(error.to_string()))?;
        let is_json = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
        let told = match is_json {
            true => serde_json::from_str(&text).map_err(|error| error.to_string()),
            false => toml::from_str(&text).map_err(|error| error.to_string()),
        };
        Self::over_preset(told.map_err(named)?).map_err(named)
    }

    fn over_preset(mut told: Map<String, Value>) -> Result<Self, String> {
        let preset = match told.remove("preset") {
            None => Preset::Quick,
            Some(name) => match name.as_str() {
                Some("quick") => Preset::Quick,
                Some("good") => Preset::Good,
                Some("fitted") => Preset::Fitted,
                _ => return Err(format!("preset is quick, good or fitted, not {name}")),
            },
        };
        let network = network(told.remove("network"), told.remove("fine_tune"))?;
        let mut settings = serde_json::to_value(preset.settings()).map_err(|error| error.to_string())?;
        lay_over(&mut settings, Value::Object(told), "")?;
        let config: Config = serde_json::from_value(settings).map_err(|error| error.to_string())?;
        config.validate().map_err(|error| error.to_string())?;
        Ok(Settings { preset, config, network })
    }
}

/// The network that is named, if one is, and how it is trained on.
fn network(name: Option<Value>, how: Option<Value>) -> Result<Option<(String, FineTune)>, String> {
    let name = match name {
        None if how.is_some() => {
            return Err("fine_tune wants a network, as in network = \"hub:mispeech/ced-tiny\"".into());
        }
        None => return Ok(None),
        Some(Value::String(name)) => name,
        Some(other) => return Err(format!("network is the name of one, not {other}")),
    };
    let mut settings = serde_json::to_value(FineTune::default()).map_err(|error| error.to_string())?;
    if let Some(how) = how {
        lay_over(&mut settings, how, "fine_tune")?;
    }
    serde_json::from_value(settings).map(|how| Some((name, how))).map_err(|error| format!("fine_tune: {error}"))
}

/// Replaces settings by those told; one that is none is refused by its name, for a misspelt one would be passed over in silence.
fn lay_over(settings: &mut Value, told: Value, group: &str) -> Result<(), String> {
    let (Value::Object(settings), Value::Object(told)) = (settings, told) else {
        return Err(format!("{group} is a group of settings"));
    };
    for (name, value) in told {
        let path = if group.is_empty() { name.clone() } else { format!("{group}.{name}") };
        let Some(setting) = settings.get_mut(&name) else {
            let known: Vec<&str> = settings.keys().map(String::as_str).collect();
            return Err(format!("there is no setting {path}; beside it there are {}", known.join(", ")));
        };
        match GROUPS.contains(&path.as_str()) {
            true => lay_over(setting, value, &path)?,
            false => *setting = value,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use audio_transformer::config::DataSource;

    use super::*;

    fn read(text: &str) -> Result<Settings, String> {
        Settings::over_preset(toml::from_str(text).unwrap())
    }

    #[test]
    fn what_is_told_is_laid_over_its_preset() {
        let text = "preset = \"good\"\n[data]\nsource = { Folder = \"my/sounds\" }\n[train]\nbatch_size = 64\nschedule = \"Constant\"\n[train.augment]\ngain_db = 3.0";
        let Settings { preset, config, network } = read(text).unwrap();
        assert!(network.is_none());
        let good = Preset::Good.settings();
        assert_eq!(preset, Preset::Good);
        assert_eq!((config.train.batch_size, config.train.epochs), (64, good.train.epochs));
        assert_eq!((config.train.augment.gain_db, config.train.augment.mix), (3.0, good.train.augment.mix));
        assert_eq!((config.model, config.data.source), (good.model, DataSource::Folder("my/sounds".into())));
    }

    #[test]
    fn a_network_from_elsewhere_is_named_with_how_it_is_trained_on() {
        let text = "network = \"my/ced\"\n[train]\nseed = 3\n[fine_tune]\nepochs = 4";
        let Settings { network, config, .. } = read(text).unwrap();
        let (name, how) = network.unwrap();
        assert_eq!(
            (name.as_str(), how, config.train.seed),
            ("my/ced", FineTune { epochs: 4, ..Default::default() }, 3)
        );
        let problem = |text: &str| read(text).err().unwrap();
        assert!(problem("[fine_tune]\nepochs = 4").contains("fine_tune wants a network"));
        assert!(problem("network = 3").contains("the name of one"));
        assert!(problem("network = \"n\"\n[fine_tune]\nepoch = 4").contains("no setting fine_tune.epoch"));
        assert!(problem("network = \"n\"\n[fine_tune]\nepochs = -4").contains("fine_tune"));
    }

    #[test]
    fn a_misspelt_setting_is_refused_by_its_name() {
        let problem = |text: &str| read(text).err().unwrap();
        assert!(problem("[train]\nbatchsize = 64").contains("no setting train.batchsize"));
        assert!(problem("[training]\nseed = 1").contains("no setting training"));
        assert!(problem("[train.augment]\ngain = 1").contains("no setting train.augment.gain"));
        assert!(problem("train = 3").contains("train is a group"));
        assert!(problem("preset = \"best\"").contains("quick, good or fitted"));
        assert!(problem("[train]\nbatch_size = 0").contains("train.batch_size"));
        assert!(problem("[train]\nbatch_size = \"many\"").contains("many"));
    }
}
