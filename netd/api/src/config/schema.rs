//! The JSON Schema of the document, for editors and generators.

use serde_json::Value;

/// The schema (JSON Schema 2020-12). What it accepts is a superset of what [`super::parse`] accepts: it
/// knows keys, types and ranges, not how objects fit together.
pub fn schema() -> Value {
    // The file is part of this crate, and a test below parses it: `Null` is never seen.
    serde_json::from_str(include_str!("switch.schema.json")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::config::document::Lines;
    use crate::config::plain_routes::PlainRoutes;
    use crate::config::reader::Reader;

    /// A document with a section of every kind, so that the reader asks for every key it knows.
    const EVERY_SECTION: &str = "
        [system]
        [management]
        [users.a]
        [profiles.a.vlan]
        [ports.swp1.vlan]
        [lags.a]
        [bridge]
        [vlans.1]
        [subinterfaces.'swp1.1'.pcp]
        [vxlans.a]
        [vrfs.a]
        [loopbacks.a]
        [routing]
        [[routes]]
        [[neighbours]]
        [[fdb]]
        [[mdb]]
        [control-plane]
        [drift]
        [services]
    ";

    fn keys_of_the_reader() -> BTreeMap<&'static str, BTreeSet<String>> {
        let lines = Lines::new(EVERY_SECTION);
        let tree = crate::config::document::tree(EVERY_SECTION);
        let mut reader = Reader::new(&lines, false);
        crate::config::read(&mut reader, tree.get_ref(), PlainRoutes::none(EVERY_SECTION));
        let owned = |keys: &BTreeSet<&'static str>| keys.iter().map(|key| (*key).to_owned()).collect();
        reader.known.iter().map(|(kind, keys)| (*kind, owned(keys))).collect()
    }

    fn properties(schema: &Value, pointer: &str) -> BTreeSet<String> {
        let object = schema.pointer(pointer).unwrap_or_else(|| panic!("the schema has no {pointer}"));
        assert_eq!(object["additionalProperties"], false, "{pointer} must refuse unknown keys");
        object["properties"].as_object().unwrap().keys().cloned().collect()
    }

    #[test]
    fn the_schema_lists_exactly_the_keys_the_reader_knows() {
        let schema = schema();
        let places = BTreeMap::from([
            ("", ""),
            ("system", "/properties/system"),
            ("management", "/properties/management"),
            ("users.*", "/$defs/user"),
            ("profiles.*", "/$defs/profile"),
            ("ports.*", "/$defs/port"),
            ("vlan", "/$defs/portVlan"),
            ("lags.*", "/$defs/lag"),
            ("bridge", "/properties/bridge"),
            ("vlans.*", "/$defs/vlan"),
            ("subinterfaces.*", "/$defs/subinterface"),
            ("pcp", "/$defs/pcp"),
            ("vxlans.*", "/$defs/vxlan"),
            ("routing", "/properties/routing"),
            ("neighbours[]", "/$defs/neighbour"),
            ("mdb[]", "/$defs/mdbEntry"),
            ("drift", "/properties/drift"),
            ("vrfs.*", "/$defs/vrf"),
            ("loopbacks.*", "/$defs/loopback"),
            ("routes[]", "/$defs/route"),
            ("fdb[]", "/$defs/fdbEntry"),
            ("control-plane", "/properties/control-plane"),
        ]);
        let reader = keys_of_the_reader();
        assert_eq!(reader.keys().collect::<Vec<_>>(), places.keys().collect::<Vec<_>>());
        for (kind, pointer) in places {
            assert_eq!(reader[kind], properties(&schema, pointer), "keys of `{kind}`");
        }
    }

    #[test]
    fn every_property_is_described() {
        fn walk(value: &Value, path: &str) {
            if let Some(properties) = value.get("properties").and_then(Value::as_object) {
                for (key, property) in properties {
                    assert!(property.get("description").is_some(), "{path}/{key} has no description");
                }
            }
            if let Some(object) = value.as_object() {
                object.iter().for_each(|(key, value)| walk(value, &format!("{path}/{key}")));
            }
        }
        walk(&schema(), "");
    }

    #[test]
    fn the_named_control_plane_services_are_those_of_the_reader() {
        let schema = schema();
        let named = schema.pointer("/$defs/allow/anyOf/0/enum").unwrap().as_array().unwrap();
        let named: Vec<&str> = named.iter().filter_map(Value::as_str).collect();
        let known: Vec<&str> = crate::config::CONTROL_PLANE_SERVICES.iter().map(|(name, _)| *name).collect();
        assert_eq!(named, known);
    }
}
