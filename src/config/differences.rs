//! Two sets of settings told apart field by field.

use serde::Serialize;
use serde_json::Value;

/// The fields that differ, by name and value, as `expected` and `found`: "features.n_mels 64" and "features.n_mels 32"; empty where
/// nothing does.
pub(crate) fn differences<T: Serialize>(expected: &T, found: &T) -> (String, String) {
    let mut fields = (Vec::new(), Vec::new());
    collect("", &to_json(expected), &to_json(found), &mut fields);
    (fields.0.join(", "), fields.1.join(", "))
}

fn to_json(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or(Value::Null)
}

fn collect(name: &str, expected: &Value, found: &Value, fields: &mut (Vec<String>, Vec<String>)) {
    if let (Value::Object(expected), Value::Object(found)) = (expected, found) {
        for (key, value) in expected {
            let inner = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
            collect(&inner, value, found.get(key).unwrap_or(&Value::Null), fields);
        }
    } else if expected != found {
        fields.0.push(format!("{name} {expected}"));
        fields.1.push(format!("{name} {found}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ClipConfig;
    use crate::dataset::metadata::FeatureSettings;
    use crate::front_end::features::FeatureConfig;

    #[test]
    fn settings_that_differ_are_named_one_by_one() {
        let old = FeatureSettings::new(&ClipConfig::default(), &FeatureConfig::default());
        let features = FeatureConfig { n_mels: 32, ..Default::default() };
        let new = FeatureSettings::new(&ClipConfig::default(), &features);
        assert_eq!(differences(&new, &old), ("features.n_mels 32".into(), "features.n_mels 64".into()));
        assert_eq!(differences(&new, &new), (String::new(), String::new()));
    }
}
