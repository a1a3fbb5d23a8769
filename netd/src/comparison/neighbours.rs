//! Neighbours with a resolved ARP or ND entry: each by its interface and address while they are few, else how many
//! each interface has.
//!
//! An entry alone shows no host: it stays for long when that is cut off. So only those known to be there shortly before
//! the change count, and afterwards the kernel is had to ask them: there is who answered since.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use super::facts::Facts;
use super::{After, Kind, Look, Unreadable, is_clearly_less};
use crate::kernel::neighbour::{self, NeighbourRecord};
use crate::kernel::snapshot::Hosts;
use crate::kernel::wire::{Message, parse_mac};

/// Most neighbours that are kept each by itself.
pub const MAX_HOSTS: usize = 1024;
/// How long before the change a neighbour must have been known to be there.
pub const KNOWN_WITHIN_MS: u64 = 300_000;
/// A neighbour that was known to be there since the change, but longer ago than this, is asked again.
const ASK_AGAIN_MS: u64 = 30_000;
/// For how long an answer counts: time for asking again, thrice, and for its turn.
const COUNTS_FOR_MS: u64 = 60_000;

/// See the module.
pub struct Neighbours;

/// A neighbour: the index of its interface, and its address.
type Host = (u32, IpAddr);

impl Kind for Neighbours {
    fn name(&self) -> &'static str {
        "neighbour"
    }

    fn observe(&self, look: &mut Look<'_>) -> Result<Facts, Unreadable> {
        match look.after.take() {
            None => record(look),
            Some(after) => look_again(look, after),
        }
    }

    fn of_snapshot(&self, hosts: &Hosts) -> Option<Facts> {
        let name = |index| hosts.names.get(&index).map_or("", String::as_str);
        Some(facts(&hosts.neighbours, name))
    }

    fn is_fewer(&self, before: u64, now: u64) -> bool {
        is_clearly_less(before, now)
    }
}

/// An entry that a look is about.
enum Found {
    /// Of a neighbour that was kept by itself.
    Host(Box<NeighbourRecord>),
    /// One of the number of an interface.
    Counted(u32),
}

fn record(look: &mut Look<'_>) -> Result<Facts, Unreadable> {
    let links = look.links;
    let hosts: Vec<Host> = neighbour::dump_each(look.connection, |record| {
        let counts = links.contains_key(&record.index) && record.is_known_within(KNOWN_WITHIN_MS);
        counts.then_some((record.index, record.address))
    })?;
    Ok(facts(&hosts, |index| &links[&index].name))
}

fn facts<'a>(hosts: &[Host], name: impl Fn(u32) -> &'a str) -> Facts {
    let each = hosts.len() <= MAX_HOSTS;
    let mut facts = Facts::default();
    for (index, address) in hosts {
        match each {
            true => facts.add(format!("{} {address}", name(*index)), 1),
            false => facts.add(name(*index).to_owned(), 1),
        }
    }
    facts
}

/// What is left of the neighbours there were.
fn look_again(look: &mut Look<'_>, after: After<'_>) -> Result<Facts, Unreadable> {
    let indexes: HashMap<&str, u32> =
        look.links.iter().map(|(index, link)| (link.name.as_str(), *index)).collect();
    let mut facts = Facts::default();
    let mut hosts: HashMap<Host, &str> = HashMap::new();
    let mut counted: HashMap<u32, &str> = HashMap::new();
    for (object, _) in after.before.iter() {
        match object.split_once(' ') {
            None => counted.extend(indexes.get(object).map(|index| (*index, object))),
            Some((interface, address)) => {
                if let (Some(index), Ok(address)) = (indexes.get(interface), address.parse()) {
                    hosts.insert((*index, address), object);
                }
            }
        }
    }
    let numbers_within_ms = after.since_record_ms.saturating_add(KNOWN_WITHIN_MS);
    let found = neighbour::dump_each(look.connection, |record| {
        if hosts.contains_key(&(record.index, record.address)) {
            return Some(Found::Host(Box::new(record)));
        }
        let counts = counted.contains_key(&record.index) && record.is_known_within(numbers_within_ms);
        counts.then_some(Found::Counted(record.index))
    })?;
    let mut asks = Vec::new();
    let mut known: HashSet<Host> = HashSet::new();
    for found in &found {
        let record = match found {
            Found::Host(record) => record,
            Found::Counted(index) => {
                facts.add(counted[index].to_owned(), 1);
                continue;
            }
        };
        let host = (record.index, record.address);
        known.insert(host);
        if record.is_known_within(after.since_change_ms.min(COUNTS_FOR_MS)) {
            facts.add(hosts[&host].to_owned(), 1);
        }
        if !record.is_known_within(after.since_change_ms.min(ASK_AGAIN_MS)) {
            asks.push((host, Some(&**record)));
        }
    }
    asks.extend(hosts.keys().filter(|host| !known.contains(*host)).map(|host| (*host, None)));
    // Those of few tries, which are asked again and again, must not keep others from their turn.
    asks.sort_by_key(|(_, record)| record.is_none_or(|record| !record.is_resolved()));
    let may = *after.probes;
    let messages: Vec<_> =
        asks.into_iter().filter_map(|(host, record)| ask(host, record)).take(may).collect();
    *after.probes -= messages.len();
    // One that cannot be asked does not answer.
    for error in look.connection.batch(messages).into_iter().filter_map(Result::err) {
        tracing::debug!("asking a neighbour: {error}");
    }
    Ok(facts)
}

/// What has the kernel ask a neighbour; `None` where it does so by itself already.
fn ask((index, address): Host, record: Option<&NeighbourRecord>) -> Option<Message> {
    match record {
        Some(record) if record.is_being_asked() => None,
        Some(record) if record.is_resolved() && parse_mac(&record.mac).is_some() => {
            neighbour::probe(index, address, &record.mac).ok()
        }
        _ => Some(neighbour::resolve(index, address)),
    }
}
