//! Every decoder of the room on the same bytes: for tests, and for whoever fuzzes for longer.

use std::hint::black_box;

use super::address::AddressRecord;
use super::extack::KernelError;
use super::fdb::FdbRecord;
use super::link::LinkRecord;
use super::neighbour::NeighbourRecord;
use super::next_hop::NextHopObjectRecord;
use super::route::RouteRecord;
use super::{
    devlink, devlink_traps, ethtool, ethtool_stats, filter, generic, mdb, monitor, neighbour,
    neighbour_table, nft_counters, port_monitor, qdisc, querier, rule, vlan,
};

/// Decodes bytes in every way there is, as the payload of a message and as a datagram of events. Whatever
/// they are, it ends, without a panic.
pub fn decode(bytes: &[u8]) {
    black_box(LinkRecord::parse(bytes));
    black_box(RouteRecord::parse(bytes).map(|route| route.hardware()));
    black_box(AddressRecord::parse(bytes));
    black_box(FdbRecord::parse(bytes).map(|entry| entry.is_static()));
    black_box(NeighbourRecord::parse(bytes).map(|entry| entry.state_name()));
    black_box(NextHopObjectRecord::parse(bytes).map(|object| object.to_object(|index| index.to_string())));
    black_box(mdb::parse(bytes));
    black_box((neighbour::read_unanswered(bytes), neighbour_table::parse(bytes)));
    black_box(vlan::parse(bytes));
    black_box(querier::parse(bytes));
    black_box(rule::parse(bytes));
    black_box((qdisc::parse(bytes), filter::parse(bytes)));
    black_box(generic::read_id(bytes));
    black_box(devlink::read_port(bytes));
    black_box(devlink_traps::read_count(bytes));
    black_box(nft_counters::read(bytes));
    black_box(ethtool_stats::read_too_long(bytes));
    black_box(ethtool::read_modes(bytes));
    black_box(ethtool::read_fec(bytes));
    black_box(generic::read_group(bytes, "monitor"));
    black_box(port_monitor::is_setting(bytes));
    black_box(ethtool::read_modes_set(bytes));
    black_box(ethtool::read_medium(bytes));
    black_box((ethtool::read_index(bytes), ethtool::read_link_state(bytes)));
    for flags in [0, u16::MAX] {
        black_box(KernelError::parse(flags, bytes).map(|error| error.to_string()));
        black_box(KernelError::parse_done(flags, bytes).map(|error| error.to_string()));
    }
    black_box(monitor::decode(bytes, 1));
}

#[cfg(test)]
mod tests {
    use nix::libc;
    use proptest::prelude::*;

    use super::*;
    use crate::kernel::multipath::ResolvedNextHop;
    use crate::kernel::wire::Message;
    use crate::kernel::{address, fdb, link, neighbour, next_hop, route};
    use crate::plan::{
        Direction, FdbKey, Filter, FilterKey, LinkKind, NeighbourKey, NextHopId, NextHopObject, RouteKey,
        RouteTarget, Setting, Value, VlanMembership,
    };

    /// Messages as the kernel might send them, so that changed bytes still lead far into the decoders.
    fn messages() -> Vec<Message> {
        let hop = |via: &str, index| ResolvedNextHop {
            via: via.parse().ok(),
            index,
            weight: 3,
            on_link: index == 4,
        };
        let route = |prefix: &str, hops: &[ResolvedNextHop]| {
            let key = RouteKey { table: 254, prefix: prefix.parse().unwrap(), metric: 20 };
            route::set(&key, &RouteTarget::inline(Vec::new()), hops, true)
        };
        let settings = [
            (Setting::Mac, Value::from("02:00:00:00:00:01")),
            (Setting::AgeingTime, Value::Number(30_000)),
            (Setting::HashPolicy, Value::Number(1)),
        ];
        let kinds = [
            LinkKind::Bridge,
            LinkKind::Lag { lacp: true },
            LinkKind::Vxlan { vni: 10, local: "2001:db8::1".parse().unwrap(), port: 4789 },
            LinkKind::Vlan { parent: "swp1".to_owned(), id: 10 },
            LinkKind::Vrf { table: 1001 },
        ];
        let tunnel = Some(("vxlan10".to_owned(), "198.51.100.2".parse().unwrap()));
        let flood = FdbKey { mac: "00:00:00:00:00:00".to_owned(), vlan_id: 0, tunnel };
        let neighbour = NeighbourKey { device: "swp1".to_owned(), address: "2001:db8::7".parse().unwrap() };
        let key = FilterKey { link: "swp1".to_owned(), direction: Direction::Ingress, preference: 0x4000 };
        let tagged = Filter::try_from("to 01:80:c2:00:00:0e untagged: vlan push 10".to_owned()).unwrap();
        let group = NextHopObject::Group(vec![(NextHopId(1), 1), (NextHopId(2), 256)]);
        let mut messages: Vec<Message> = kinds
            .iter()
            .map(|kind| link::create("name", kind, Some(3), &settings.clone().into()).unwrap())
            .collect();
        messages.extend([
            route("10.0.0.0/8", &[hop("192.0.2.1", 3), hop("2001:db8::1", 4)]),
            route("2001:db8::/32", &[hop("2001:db8::1", 3)]),
            fdb::add(&flood, 5).unwrap(),
            neighbour::set(&neighbour, 3, "02:00:00:00:00:07").unwrap(),
            next_hop::set(NextHopId(NextHopId::FIRST), &group, 0, false),
            vlan::add(3, 10, 4000, VlanMembership::default(), true),
            address::add(3, &"192.0.2.1/24".parse().unwrap(), true),
            mdb::add(3, 4, "239.1.2.3".parse().unwrap(), 10),
            filter::add(3, &key, &tagged).unwrap(),
            qdisc::clsact(3, true),
            // What only answers hold: counters, an error with its words, a bit set.
            Message::new(libc::RTM_NEWLINK, 0, &[0; 16])
                .text(libc::IFLA_IFNAME, "swp1")
                .attribute(libc::IFLA_STATS64, &[7; 200])
                .nest(libc::IFLA_AF_SPEC, |spec| {
                    spec.nest(libc::AF_INET as u16, |inet| inet.attribute(1, &[1; 132]))
                        .nest(libc::AF_INET6 as u16, |inet6| inet6.attribute(2, &[1; 200]).u8(8, 1))
                }),
            Message::new(libc::NLMSG_ERROR as u16, 0x300, &[0xea; 20]).text(1, "words").u32(2, 36),
            Message::new(21, 0, &[29, 1, 0, 0])
                .nest(2, |modes| modes.u32(2, 64).attribute(4, &[0, 0, 0, 0, 0, 0, 4, 0]))
                .u8(3, 0),
        ]);
        messages
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        #[test]
        fn no_bytes_make_a_decoder_panic(
            which in any::<prop::sample::Index>(),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
            end in any::<prop::sample::Index>(),
            cut in any::<bool>(),
        ) {
            let messages = messages();
            let mut bytes = which.get(&messages).finish(1, 0);
            for (place, byte) in changes {
                let place = place.index(bytes.len());
                bytes[place] = byte;
            }
            if cut {
                bytes.truncate(end.index(bytes.len()));
            }
            decode(&bytes);
            decode(bytes.get(16..).unwrap_or_default());
        }

        #[test]
        fn no_noise_makes_a_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
            decode(&bytes);
        }
    }

    #[test]
    fn what_the_mutations_begin_with_decodes() {
        let decoded = messages().into_iter().filter(|message| {
            let events = monitor::decode(&message.finish(1, 0), 0);
            !events.is_empty() && events != [monitor::Event::Overrun]
        });
        assert!(decoded.count() >= 10);
    }
}
