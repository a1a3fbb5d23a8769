//! How often links lost their carrier, as the kernel counts it the moment a driver says so.
//!
//! Asking for a link ([`super::link_state`]) waits for whatever change is being made, and then for all that
//! follows from the link: milliseconds. Reading this counter waits for nothing and brings about nothing; but it
//! does not say whether the link is back by now.

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::device;

/// The counters of some links, kept open.
#[derive(Debug, Default)]
pub struct CarrierLosses {
    links: Arc<[(String, u32)]>,
    counters: Vec<Counter>,
}

/// One of them; without a file where there is none.
#[derive(Debug)]
struct Counter {
    file: Option<File>,
    losses: u64,
}

impl CarrierLosses {
    /// Which of these links, by name and index, lost their carrier since the last call for the same ones: places
    /// in the list, each with what the counter says now. The first call for others begins to count.
    pub fn of(&mut self, links: &Arc<[(String, u32)]>) -> impl Iterator<Item = (usize, u64)> {
        if !Arc::ptr_eq(&self.links, links) {
            self.follow(links);
        }
        let moved = |(place, counter): (usize, &mut Counter)| Some((place, counter.moved()?));
        self.counters.iter_mut().enumerate().filter_map(moved)
    }

    fn follow(&mut self, links: &Arc<[(String, u32)]>) {
        let mut known: HashMap<&(String, u32), Counter> =
            self.links.iter().zip(std::mem::take(&mut self.counters)).collect();
        let counter = |link: &(String, u32)| {
            known.remove(link).filter(Counter::is_open).unwrap_or_else(|| Counter::open(&link.0, link.1))
        };
        self.counters = links.iter().map(counter).collect();
        self.links = links.clone();
    }
}

impl Counter {
    fn open(name: &str, index: u32) -> Counter {
        let folder = device::class(name);
        // Another device may have the name by now, or one of another network namespace.
        let is_it =
            fs::read_to_string(folder.join("ifindex")).is_ok_and(|text| text.trim().parse() == Ok(index));
        let file = is_it.then(|| File::open(folder.join("carrier_down_count")).ok()).flatten();
        let losses = file.as_ref().and_then(read).unwrap_or_default();
        Counter { file, losses }
    }

    fn is_open(&self) -> bool {
        self.file.is_some()
    }

    fn moved(&mut self) -> Option<u64> {
        let losses = read(self.file.as_ref()?)?;
        (std::mem::replace(&mut self.losses, losses) != losses).then_some(losses)
    }
}

/// `None` once the device is gone.
fn read(counter: &File) -> Option<u64> {
    let mut text = [0; 24];
    let length = counter.read_at(&mut text, 0).ok()?;
    str::from_utf8(&text[..length]).ok()?.trim_end().parse().ok()
}
