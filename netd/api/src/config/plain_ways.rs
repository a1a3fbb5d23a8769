//! Where plain routes lead: what [`super::plain_lines`] found, put into the same form as the tree's reader does.

use std::net::IpAddr;

use super::layer3;
use super::names;
use super::plain_lines::RawWays;
use super::routes::{MAX_NEXT_HOPS, Ways, WaysKind, WaysTable, WrittenHop};

/// What the lines of a block say beside its prefix and metric.
#[derive(Clone, Copy)]
pub(super) enum PlainWays {
    Known {
        number: u32,
        family: Option<Family>,
    },
    /// The reader of the tree refuses them for sure.
    Wrong,
    /// It is for the reader of the tree to say.
    Unknown,
}

/// IPv4 or IPv6.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    pub(super) fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Family::V4 } else { Family::V6 }
    }
}

/// Reads what a block says; `None` where it is for the reader of the tree to say.
pub(super) fn read(raw: &RawWays<'_>, table: &mut WaysTable) -> Option<PlainWays> {
    let (kind, family) = match (raw.blackhole, raw.unreachable, raw.via, raw.dev) {
        (Some(true), None, None, None) => (WaysKind::Blackhole, None),
        (None, Some(true), None, None) => (WaysKind::Unreachable, None),
        (None, None, None, Some(_)) => (WaysKind::NextHops(Vec::new()), None),
        (None, None, Some(_), _) => {
            let via = raw.via().filter(|via| via.len() <= MAX_NEXT_HOPS)?;
            let mut hops = Vec::with_capacity(via.len());
            for (position, text) in (0_u16..).zip(&via) {
                let Ok(address) = layer3::parse_host_address(text) else {
                    return Some(PlainWays::Wrong);
                };
                hops.push(WrittenHop { address, weight: 1, position });
            }
            let family = check_hops(&mut hops, raw)?;
            (WaysKind::NextHops(hops), Some(family))
        }
        _ => return None,
    };
    let plain_dev = |dev: &str| dev.len() <= 64 && dev.bytes().all(|byte| matches!(byte, 0x20..0x7f));
    if (raw.weights.is_some() && raw.via.is_none())
        || !raw.dev.is_none_or(plain_dev)
        || raw.vrf.is_some_and(|vrf| names::check_interface_name(vrf).is_err())
    {
        return None;
    }
    let (vrf, dev) = (raw.vrf.map(str::to_owned), raw.dev.map(str::to_owned));
    Some(PlainWays::Known { number: table.number(Ways { vrf, dev, kind }), family })
}

/// Gives next hops their weights; answers their family, if all have one and none is given twice.
fn check_hops(hops: &mut [WrittenHop], raw: &RawWays<'_>) -> Option<Family> {
    if raw.weights.is_some() {
        let weights = raw.weights()?;
        if weights.len() != hops.len() {
            return None;
        }
        for (hop, weight) in hops.iter_mut().zip(weights) {
            hop.weight = u16::try_from(weight).ok().filter(|weight| (1..=256).contains(weight))?;
        }
    }
    let family = Family::of(hops.first()?.address);
    let alike = hops.iter().all(|hop| Family::of(hop.address) == family);
    let twice = |(index, hop): (usize, &WrittenHop)| {
        hops.iter().take(index).any(|other| other.address == hop.address)
    };
    (alike && !hops.iter().enumerate().any(twice)).then_some(family)
}
