//! What there is of a kind: objects by name, each with a number.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Most objects of a kind that are kept: more than there are VLANs.
pub const MAX_OBJECTS: usize = 5000;

/// What there is of a kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    objects: BTreeMap<String, u64>,
    /// How many objects more there were than are kept.
    #[serde(default)]
    beyond: u64,
}

impl Facts {
    /// Adds so many to an object: 1 for one that has no number. An object of which there are none is not there.
    pub fn add(&mut self, object: String, count: u64) {
        if count == 0 {
            return;
        }
        if self.objects.len() >= MAX_OBJECTS && !self.objects.contains_key(&object) {
            self.beyond += 1;
            return;
        }
        let known = self.objects.entry(object).or_default();
        *known = known.saturating_add(count);
    }

    /// The number of an object; 0 for one that is not there.
    pub fn count(&self, object: &str) -> u64 {
        self.objects.get(object).copied().unwrap_or(0)
    }

    /// Objects with their numbers, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.objects.iter().map(|(object, count)| (object.as_str(), *count))
    }

    /// How many objects are kept.
    pub fn objects(&self) -> u64 {
        self.objects.len() as u64
    }

    /// How many more there were.
    pub fn beyond(&self) -> u64 {
        self.beyond
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_bounded_however_many_objects_there_are() {
        let mut facts = Facts::default();
        for number in 0..2 * MAX_OBJECTS {
            facts.add(format!("object {number}"), 1);
        }
        facts.add("object 0".to_owned(), 4);
        facts.add("nothing".to_owned(), 0);
        assert_eq!((facts.objects(), facts.beyond()), (MAX_OBJECTS as u64, MAX_OBJECTS as u64));
        assert_eq!((facts.count("object 0"), facts.count("nothing")), (5, 0));
    }
}
