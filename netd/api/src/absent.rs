//! Fields that may have no value: `null` in JSON, the type's zero or empty text over D-Bus, which has no "absent".
//!
//! For `#[serde(with = "crate::absent")]`.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Writes a value; the default one as `null` where the format is for people.
///
/// # Errors
/// The serializer's own.
pub fn serialize<T, S>(value: &T, serializer: S) -> Result<S::Ok, S::Error>
where
    T: Serialize + Default + PartialEq,
    S: Serializer,
{
    match serializer.is_human_readable() && *value == T::default() {
        true => serializer.serialize_none(),
        false => value.serialize(serializer),
    }
}

/// Reads a value, `null` as the default one.
///
/// # Errors
/// The deserializer's own.
pub fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: Deserialize<'de> + Default,
    D: Deserializer<'de>,
{
    match deserializer.is_human_readable() {
        true => Ok(Option::deserialize(deserializer)?.unwrap_or_default()),
        false => T::deserialize(deserializer),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::state::{FdbEntry, Port};

    #[test]
    fn what_is_unknown_is_null_in_json_and_comes_back_as_nothing() {
        let port = Port { name: "swp1".into(), ..Port::default() };
        let shown = serde_json::to_value(&port).unwrap();
        for field in ["speed_mbps", "duplex", "untagged_vlan", "lag", "attachment"] {
            assert!(shown[field].is_null(), "{field}: {shown}");
        }
        assert_eq!((&shown["mtu_bytes"], &shown["admin_up"]), (&json!(0), &json!(false)));
        assert_eq!(serde_json::from_value::<Port>(shown).unwrap(), port);
        let known = Port { speed_mbps: 10_000, untagged_vlan: 7, ..port };
        let shown = serde_json::to_value(&known).unwrap();
        assert_eq!((&shown["speed_mbps"], &shown["untagged_vlan"]), (&json!(10_000), &json!(7)));
        assert!(serde_json::to_value(FdbEntry::default()).unwrap()["vlan_id"].is_null());
    }
}
