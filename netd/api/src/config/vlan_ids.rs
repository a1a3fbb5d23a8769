//! VLAN ids: single ones, and lists such as `["10-20", "30", 40]`.

use super::document::shortened;
use super::reader::{Node, Reader};
use crate::state::VlanRange;

/// Longest list of VLANs.
const MAX_ITEMS: usize = 4094;

/// A VLAN id from an integer, or from text.
pub(super) fn check(number: i64) -> Result<u16, String> {
    match u16::try_from(number) {
        Ok(id @ 1..=4094) => Ok(id),
        Ok(0) => {
            Err("VLAN 0 is no VLAN (it marks frames that only have a priority): use 1 to 4094".to_owned())
        }
        Ok(4095) => Err("VLAN 4095 is reserved by IEEE 802.1Q: use 1 to 4094".to_owned()),
        _ => Err(format!("VLAN {number} is out of range: 1 to 4094")),
    }
}

/// A VLAN id written in text, without leading zeros or signs.
pub(super) fn parse(text: &str) -> Result<u16, String> {
    let digits = !text.is_empty() && text.len() <= 9 && text.bytes().all(|byte| byte.is_ascii_digit());
    let plain = digits && (text == "0" || !text.starts_with('0'));
    match text.parse().ok().filter(|_: &i64| plain) {
        Some(number) => check(number),
        None => Err(format!("`{}` is no VLAN: use a number from 1 to 4094", shortened(text))),
    }
}

/// Reads one VLAN.
pub(super) fn read<'d>(reader: &mut Reader<'d>, node: &Node<'d>) -> Option<u16> {
    let integer = reader.any_integer(node)?;
    check(integer).map_err(|message| reader.wrong_value(node, message)).ok()
}

/// Reads a list of VLANs and ranges; the answer is sorted and merged.
pub(super) fn read_list<'d>(reader: &mut Reader<'d>, node: &Node<'d>) -> Vec<VlanRange> {
    let mut ranges = Vec::new();
    for item in reader.array(node, MAX_ITEMS) {
        let range = if item.value.is_str() {
            reader.parsed(&item, 32, parse_range)
        } else {
            read(reader, &item).map(|id| VlanRange { first: id, last: id })
        };
        ranges.extend(range);
    }
    merge(ranges)
}

fn parse_range(text: &str) -> Result<VlanRange, String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (parse(first.trim())?, parse(last.trim())?);
    if first > last {
        return Err(format!("the range {first}-{last} runs backwards: write \"{last}-{first}\""));
    }
    Ok(VlanRange { first, last })
}

/// Sorts ranges and joins those that touch.
pub(super) fn merge(mut ranges: Vec<VlanRange>) -> Vec<VlanRange> {
    ranges.sort();
    let mut merged: Vec<VlanRange> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.first <= last.last + 1 => last.last = last.last.max(range.last),
            _ => merged.push(range),
        }
    }
    merged
}

/// Ranges without one VLAN.
pub(super) fn without(ranges: &[VlanRange], vlan_id: u16) -> Vec<VlanRange> {
    let split = |range: &VlanRange| {
        let VlanRange { first, last } = *range;
        if vlan_id < first || last < vlan_id {
            return vec![*range];
        }
        let parts = [(first, vlan_id - 1), (vlan_id + 1, last)];
        parts.into_iter().filter(|(a, b)| a <= b).map(|(first, last)| VlanRange { first, last }).collect()
    };
    ranges.iter().flat_map(split).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(pairs: &[(u16, u16)]) -> Vec<VlanRange> {
        pairs.iter().map(|&(first, last)| VlanRange { first, last }).collect()
    }

    #[test]
    fn ranges_are_sorted_and_joined() {
        assert_eq!(merge(ranges(&[(30, 30), (10, 20), (21, 22), (15, 18)])), ranges(&[(10, 22), (30, 30)]));
        assert_eq!(merge(ranges(&[(1, 4094), (4094, 4094)])), ranges(&[(1, 4094)]));
    }

    #[test]
    fn one_vlan_can_be_taken_out() {
        assert_eq!(without(&ranges(&[(1, 3), (5, 5)]), 2), ranges(&[(1, 1), (3, 3), (5, 5)]));
        assert_eq!(without(&ranges(&[(1, 3), (5, 5)]), 5), ranges(&[(1, 3)]));
        assert_eq!(without(&ranges(&[(1, 3)]), 1), ranges(&[(2, 3)]));
    }

    #[test]
    fn ids_at_the_edges() {
        assert_eq!(parse("1"), Ok(1));
        assert_eq!(parse("4094"), Ok(4094));
        for text in ["0", "4095", "4096", "-1", "+1", "01", "", "1.5", "99999999999999999999"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
