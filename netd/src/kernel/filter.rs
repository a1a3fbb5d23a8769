//! Filters of frames: `RTM_GETTFILTER`, `RTM_NEWTFILTER`, `RTM_DELTFILTER`. Those netd makes are of the classifier
//! `flower` with one action, `vlan` (tc-flower(8), tc-vlan(8)), in chain 0.

use nix::libc;

use super::connection::Connection;
use super::extack::KernelError;
use super::link::find;
use super::qdisc::{HEADER_LEN, TCA_KIND, class, header};
use super::wire::{Message, attributes, read_text, read_u8, read_u16, read_u32};
use crate::plan::{Direction, Filter, FilterKey, MaskedMac, Tag, TagAction};

/// `linux/rtnetlink.h`.
const TCA_OPTIONS: u16 = 2;
const TCA_CHAIN: u16 = 11;
/// `linux/pkt_cls.h`.
const TCA_FLOWER_ACT: u16 = 3;
const TCA_FLOWER_KEY_ETH_DST: u16 = 4;
const TCA_FLOWER_KEY_ETH_DST_MASK: u16 = 5;
const TCA_FLOWER_KEY_ETH_TYPE: u16 = 8;
const TCA_FLOWER_FLAGS: u16 = 22;
const TCA_FLOWER_KEY_VLAN_ID: u16 = 23;
const TCA_FLOWER_KEY_NUM_OF_VLANS: u16 = 102;
const TCA_CLS_FLAGS_SKIP_HW: u32 = 1;
const TCA_ACT_KIND: u16 = 1;
const TCA_ACT_OPTIONS: u16 = 2;
const TC_ACT_OK: i32 = 0;
/// `linux/tc_act/tc_vlan.h`.
const TCA_VLAN_PARMS: u16 = 2;
const TCA_VLAN_PUSH_VLAN_ID: u16 = 3;
const TCA_VLAN_ACT_POP: i32 = 1;
const TCA_VLAN_ACT_PUSH: i32 = 2;
const TCA_VLAN_ACT_MODIFY: i32 = 3;
/// Where `struct tc_vlan` has what becomes of the frame, and of its tag.
const VERDICT: usize = 8;
const TAG_ACTION: usize = 20;
const PARMS_LEN: usize = 24;
/// `linux/if_ether.h`.
const ETH_P_ALL: u16 = libc::ETH_P_ALL as u16;
const ETH_P_8021Q: u16 = libc::ETH_P_8021Q as u16;
/// There is one filter of each preference.
const HANDLE: u32 = 1;

/// A filter as the kernel shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterRecord {
    /// Its preference.
    pub preference: u16,
    /// Its chain; frames begin in 0.
    pub chain: u32,
    /// What it does.
    pub filter: Filter,
}

impl FilterRecord {
    /// Whether it stands where netd's filters are.
    pub fn is_own(&self) -> bool {
        self.chain == 0 && FilterKey::is_own(self.preference)
    }
}

/// All filters of the link with this index that frames of a direction pass.
pub fn dump(
    connection: &mut Connection,
    index: u32,
    direction: Direction,
) -> Result<Vec<FilterRecord>, KernelError> {
    let query = Message::new(libc::RTM_GETTFILTER, 0, &header(index, 0, class(direction), 0));
    connection.dump(&query, |_, payload| parse(payload))
}

/// Reads the payload of an `RTM_NEWTFILTER`; `None` for one that only announces the filters of a preference.
pub(super) fn parse(payload: &[u8]) -> Option<FilterRecord> {
    let header = payload.get(..HEADER_LEN)?;
    let (handle, info) = (read_u32(&header[8..]), read_u32(&header[16..]));
    let (mut classifier, mut options, mut chain) = (String::new(), None, 0);
    for (kind, value) in attributes(&payload[HEADER_LEN..]) {
        match kind {
            TCA_KIND => classifier = read_text(value),
            TCA_OPTIONS => options = Some(value),
            TCA_CHAIN => chain = read_u32(value),
            _ => {}
        }
    }
    let is_ours = classifier == "flower" && handle == HANDLE;
    let protocol = u16::from_be(info as u16);
    let filter = options.filter(|_| is_ours).and_then(|options| read_flower(options, protocol));
    let stands_alone = options.is_some() || handle != 0;
    stands_alone.then(|| FilterRecord {
        preference: (info >> 16) as u16,
        chain,
        filter: filter.unwrap_or(Filter::Other),
    })
}

fn read_flower(options: &[u8], protocol: u16) -> Option<Filter> {
    let (mut address, mut mask, mut tags, mut vlan_id, mut action) = (None, [0xff; 6], None, None, None);
    for (kind, value) in attributes(options) {
        match kind {
            TCA_FLOWER_KEY_ETH_DST => address = value.first_chunk().copied(),
            TCA_FLOWER_KEY_ETH_DST_MASK => mask = *value.first_chunk()?,
            TCA_FLOWER_KEY_NUM_OF_VLANS => tags = Some(read_u8(value)),
            TCA_FLOWER_KEY_VLAN_ID => vlan_id = Some(read_u16(value)),
            TCA_FLOWER_ACT => action = read_action(value),
            _ => {}
        }
    }
    let tag = match (protocol, tags, vlan_id) {
        (ETH_P_ALL, Some(0), None) => Tag::Untagged,
        (ETH_P_8021Q, None, Some(id)) => Tag::Vlan(id),
        _ => return None,
    };
    Some(Filter::Destination { address: MaskedMac { address: address?, mask }, tag, action: action? })
}

/// Reads a list of actions that is one of `vlan`, after which the frame goes its way.
fn read_action(list: &[u8]) -> Option<TagAction> {
    let mut actions = attributes(list);
    let (_, action) = actions.next()?;
    if actions.next().is_some() {
        return None;
    }
    let options = find(action, TCA_ACT_OPTIONS)
        .filter(|_| find(action, TCA_ACT_KIND).is_some_and(|kind| read_text(kind) == "vlan"))?;
    let parms: &[u8; PARMS_LEN] = find(options, TCA_VLAN_PARMS)?.first_chunk()?;
    if read_u32(&parms[VERDICT..]) as i32 != TC_ACT_OK {
        return None;
    }
    let id = find(options, TCA_VLAN_PUSH_VLAN_ID).map(read_u16);
    match (read_u32(&parms[TAG_ACTION..]) as i32, id) {
        (TCA_VLAN_ACT_POP, _) => Some(TagAction::Pop),
        (TCA_VLAN_ACT_PUSH, Some(id)) => Some(TagAction::Push(id)),
        (TCA_VLAN_ACT_MODIFY, Some(id)) => Some(TagAction::Modify(id)),
        _ => None,
    }
}

fn info(preference: u16, protocol: u16) -> u32 {
    u32::from(preference) << 16 | u32::from(protocol.to_be())
}

/// Adds a filter to the link with this index; `None` for one that netd does not make. It is the kernel's alone:
/// frames to reserved groups come to it from any ASIC.
pub fn add(index: u32, key: &FilterKey, filter: &Filter) -> Option<Message> {
    let Filter::Destination { address, tag, action } = filter else { return None };
    let protocol = if *tag == Tag::Untagged { ETH_P_ALL } else { ETH_P_8021Q };
    let header = header(index, HANDLE, class(key.direction), info(key.preference, protocol));
    let flags = (libc::NLM_F_CREATE | libc::NLM_F_EXCL) as u16;
    let message = Message::new(libc::RTM_NEWTFILTER, flags, &header).text(TCA_KIND, "flower");
    Some(message.nest(TCA_OPTIONS, |flower| {
        let flower = flower
            .nest(TCA_FLOWER_ACT, |list| list.nest(1, |put| put_action(put, *action)))
            .u32(TCA_FLOWER_FLAGS, TCA_CLS_FLAGS_SKIP_HW)
            .attribute(TCA_FLOWER_KEY_ETH_DST, &address.address)
            .attribute(TCA_FLOWER_KEY_ETH_DST_MASK, &address.mask);
        match tag {
            Tag::Untagged => flower.u8(TCA_FLOWER_KEY_NUM_OF_VLANS, 0),
            Tag::Vlan(id) => {
                flower.be16(TCA_FLOWER_KEY_ETH_TYPE, ETH_P_8021Q).u16(TCA_FLOWER_KEY_VLAN_ID, *id)
            }
        }
    }))
}

fn put_action(message: Message, action: TagAction) -> Message {
    let (what, id) = match action {
        TagAction::Push(id) => (TCA_VLAN_ACT_PUSH, Some(id)),
        TagAction::Modify(id) => (TCA_VLAN_ACT_MODIFY, Some(id)),
        TagAction::Pop => (TCA_VLAN_ACT_POP, None),
    };
    let mut parms = [0; PARMS_LEN];
    parms[VERDICT..VERDICT + 4].copy_from_slice(&TC_ACT_OK.to_ne_bytes());
    parms[TAG_ACTION..].copy_from_slice(&what.to_ne_bytes());
    message.text(TCA_ACT_KIND, "vlan").nest(TCA_ACT_OPTIONS, |options| {
        let options = options.attribute(TCA_VLAN_PARMS, &parms);
        match id {
            Some(id) => options.u16(TCA_VLAN_PUSH_VLAN_ID, id),
            None => options,
        }
    })
}

/// Removes what there is of this preference from the link with this index.
pub fn delete(index: u32, key: &FilterKey) -> Message {
    Message::new(libc::RTM_DELTFILTER, 0, &header(index, 0, class(key.direction), info(key.preference, 0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Options of `flower` as tc(8) of iproute2 6.1 writes them, with what it was told.
    const OF_IPROUTE2: [(&str, u16, &[u8]); 3] = [
        // protocol all flower skip_hw dst_mac 01:80:c2:00:00:0e num_of_vlans 0 action vlan push id 10 ok
        (
            "to 01:80:c2:00:00:0e untagged: vlan push 10",
            ETH_P_ALL,
            b"\x0a\x00\x04\x00\x01\x80\xc2\x00\x00\x0e\x00\x00\x0a\x00\x05\x00\xff\xff\xff\xff\xff\xff\x00\x00\
              \x05\x00\x66\x00\x00\x00\x00\x00\x3c\x00\x03\x00\x38\x00\x01\x00\x09\x00\x01\x00vlan\x00\x00\x00\x00\
              \x28\x00\x02\x80\x1c\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\
              \x00\x00\x00\x00\x02\x00\x00\x00\x06\x00\x03\x00\x0a\x00\x00\x00\x08\x00\x16\x00\x01\x00\x00\x00",
        ),
        // protocol 802.1Q flower skip_hw dst_mac 01:80:c2:00:00:00/ff:ff:ff:ff:ff:f0 vlan_id 10 action vlan pop ok
        (
            "to 01:80:c2:00:00:00/ff:ff:ff:ff:ff:f0 vlan 10: vlan pop",
            ETH_P_8021Q,
            b"\x0a\x00\x04\x00\x01\x80\xc2\x00\x00\x00\x00\x00\x0a\x00\x05\x00\xff\xff\xff\xff\xff\xf0\x00\x00\
              \x06\x00\x17\x00\x0a\x00\x00\x00\x34\x00\x03\x00\x30\x00\x01\x00\x09\x00\x01\x00vlan\x00\x00\x00\x00\
              \x20\x00\x02\x80\x1c\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\
              \x00\x00\x00\x00\x01\x00\x00\x00\x08\x00\x16\x00\x01\x00\x00\x00\x06\x00\x08\x00\x81\x00\x00\x00",
        ),
        // protocol 802.1Q flower skip_hw dst_mac 01:80:c2:00:00:00 vlan_id 0 action vlan modify id 10 ok
        (
            "to 01:80:c2:00:00:00 vlan 0: vlan modify 10",
            ETH_P_8021Q,
            b"\x0a\x00\x04\x00\x01\x80\xc2\x00\x00\x00\x00\x00\x0a\x00\x05\x00\xff\xff\xff\xff\xff\xff\x00\x00\
              \x06\x00\x17\x00\x00\x00\x00\x00\x3c\x00\x03\x00\x38\x00\x01\x00\x09\x00\x01\x00vlan\x00\x00\x00\x00\
              \x28\x00\x02\x80\x1c\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\
              \x00\x00\x00\x00\x03\x00\x00\x00\x06\x00\x03\x00\x0a\x00\x00\x00\x08\x00\x16\x00\x01\x00\x00\x00\
              \x06\x00\x08\x00\x81\x00\x00\x00",
        ),
    ];

    #[test]
    fn filters_are_written_and_read_as_iproute2_writes_them() {
        let sorted = |options: &[u8]| {
            let mut kinds: Vec<(u16, Vec<u8>)> =
                attributes(options).map(|(kind, value)| (kind, value.to_vec())).collect();
            // Nested attributes may be marked as such or not; what they hold is read below.
            kinds.retain(|(kind, _)| *kind != TCA_FLOWER_ACT);
            kinds.sort();
            kinds
        };
        for (text, protocol, options) in OF_IPROUTE2 {
            let filter = Filter::try_from(text.to_owned()).unwrap();
            assert_eq!(read_flower(options, protocol).as_ref(), Some(&filter), "{text}");
            for direction in [Direction::Ingress, Direction::Egress] {
                let key = FilterKey { link: "swp1".to_owned(), direction, preference: 0x400e };
                let message = add(7, &key, &filter).unwrap().finish(1, 0);
                let payload = &message[16..];
                let record = FilterRecord { preference: 0x400e, chain: 0, filter: filter.clone() };
                assert_eq!(parse(payload), Some(record), "{text}");
                let mut parts = attributes(&payload[HEADER_LEN..]);
                let ours = parts.find(|(kind, _)| *kind == TCA_OPTIONS).unwrap().1;
                assert_eq!((sorted(ours), ours.len()), (sorted(options), options.len()), "{text}");
                // Its class, preference and protocol, where iproute2 has them.
                let parent = if direction == Direction::Ingress { 4_294_967_282 } else { 4_294_967_283 };
                assert_eq!(payload[..4], [0; 4]);
                assert_eq!([read_u32(&payload[4..]), read_u32(&payload[8..])], [7, 1]);
                assert_eq!(read_u32(&payload[12..]), parent);
                let info = if protocol == ETH_P_ALL { 1_074_660_096 } else { 0x400e_0081 };
                assert_eq!(read_u32(&payload[16..]), info);
            }
        }
    }

    #[test]
    fn filters_of_others_are_told_from_netds() {
        let key = FilterKey { link: "swp1".to_owned(), direction: Direction::Ingress, preference: 0x4000 };
        let filter = Filter::try_from("to 01:80:c2:00:00:00 untagged: vlan push 10".to_owned()).unwrap();
        let ours = || add(7, &key, &filter).unwrap();
        assert!(parse(&ours().finish(1, 0)[16..]).unwrap().is_own());
        let elsewhere = parse(&ours().u32(TCA_CHAIN, 1).finish(1, 0)[16..]).unwrap();
        assert!(!elsewhere.is_own());
        let of_kind = |kind: &str, preference| {
            let header = header(7, 1, class(Direction::Ingress), info(preference, ETH_P_ALL));
            let message = Message::new(libc::RTM_NEWTFILTER, 0, &header).text(TCA_KIND, kind);
            parse(&message.nest(TCA_OPTIONS, |options| options).finish(1, 0)[16..]).unwrap()
        };
        assert_eq!(of_kind("u32", 0x4000).filter, Filter::Other);
        assert!(of_kind("u32", 0x4000).is_own() && !of_kind("flower", 0xc000).is_own());
        // Of a preference the kernel tells first that there is something.
        let header = header(7, 0, class(Direction::Ingress), info(0x4000, ETH_P_ALL));
        let announced = Message::new(libc::RTM_NEWTFILTER, 0, &header).text(TCA_KIND, "flower");
        assert_eq!(parse(&announced.finish(1, 0)[16..]), None);
    }
}
