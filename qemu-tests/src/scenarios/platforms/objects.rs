//! The table: every object of the configuration, and where it is refused.

use crate::lab::Topology;

/// An object of the configuration. Ports `{a}` to `{d}` are those of the platform.
pub struct Object {
    pub name: &'static str,
    /// In which of the two documents of a platform it stands: the objects of one do not get in each other's way.
    pub round: usize,
    /// What makes it. Sections that objects have in common are joined, lines they have in common as well.
    pub made: &'static str,
    /// What changes it.
    pub changed: &'static str,
    /// Parts of one line of the kernel's own account, once it is made, and once it is changed; `!` before what is
    /// not in that line.
    pub shows: [&'static [&'static str]; 2],
    /// Where it is refused, and in which words.
    pub refused: &'static [(Topology, &'static str)],
}

/// Platforms on which everything is taken.
const NOWHERE: &[(Topology, &str)] = &[];

pub const OBJECTS: [Object; 25] = [
    Object {
        name: "port: description, MTU, administrative state",
        round: 0,
        made: "[ports.{a}]\ndescription = \"one\"\nmtu = 1400\n",
        changed: "[ports.{a}]\ndescription = \"two\"\nmtu = 1300\nenabled = false\n",
        shows: [
            &["link", "\"ifname\":\"{a}\"", "\"ifalias\":\"one\"", "\"mtu\":1400", "\"UP\""],
            &["link", "\"ifname\":\"{a}\"", "\"ifalias\":\"two\"", "\"mtu\":1300", "!\"UP\""],
        ],
        refused: NOWHERE,
    },
    // The link goes down for it, and a simulated one stays so: of no other object in this round.
    Object {
        name: "port: hardware address",
        round: 0,
        made: "[ports.{d}]\nmac = \"02:00:00:00:aa:01\"\n",
        changed: "[ports.{d}]\nmac = \"02:00:00:00:aa:02\"\n",
        shows: [
            &["link", "\"ifname\":\"{d}\"", "02:00:00:00:aa:01"],
            &["link", "\"ifname\":\"{d}\"", "02:00:00:00:aa:02"],
        ],
        refused: NOWHERE,
    },
    Object {
        name: "port: speed and duplex",
        round: 0,
        made: "[ports.{b}]\nspeed = \"10G\"\nduplex = \"full\"\n",
        changed: "[ports.{b}]\nspeed = \"1G\"\nduplex = \"half\"\n",
        shows: [&["speed {b} 10000 full"], &["speed {b} 1000 half"]],
        refused: &[(
            Topology::Netdevsim,
            "set speed 10000: Operation not supported on transport endpoint (EOPNOTSUPP)",
        )],
    },
    Object {
        name: "port: FEC",
        round: 0,
        made: "[ports.{b}]\nfec = \"rs\"\n",
        changed: "[ports.{b}]\nfec = \"off\"\n",
        // Nothing in the image but netd asks the driver for it; netd's own look at it is part of the change.
        shows: [&["speed {b}"], &["speed {b}"]],
        refused: &[
            (Topology::Switch, "set fec \"rs\": Operation not supported on transport endpoint (EOPNOTSUPP)"),
            (Topology::Rocker, "set fec \"rs\": Operation not supported on transport endpoint (EOPNOTSUPP)"),
        ],
    },
    Object {
        name: "port: breakout",
        round: 0,
        made: "[ports.{d}]\nbreakout = 4\n",
        changed: "[ports.{d}]\nbreakout = 2\n",
        shows: [&["\"ifname\":\"{d}s1\""], &["\"ifname\":\"{d}s1\""]],
        refused: &[
            (Topology::Switch, "swp12: split into 4: the driver of swp12 tells of no port of an ASIC"),
            (Topology::Rocker, "swp4: split into 4: the driver of swp4 tells of no port of an ASIC"),
            (
                Topology::Netdevsim,
                "swp2: split into 4: Operation not supported on transport endpoint (EOPNOTSUPP)",
            ),
        ],
    },
    Object {
        name: "VLANs of a port",
        round: 0,
        made: "[ports.{a}]\nvlan.access = 300\n",
        changed: "[ports.{a}]\nvlan.trunk = [\"300-310\"]\nvlan.native = 311\n",
        shows: [
            &["vlan", "\"ifname\":\"{a}\"", "\"vlan\":300", "PVID"],
            &["vlan", "\"ifname\":\"{a}\"", "\"vlan\":310"],
        ],
        refused: NOWHERE,
    },
    Object {
        name: "bridge port: isolation, learning",
        round: 0,
        made: "[ports.{a}]\nvlan.access = 300\nisolated = true\n",
        changed: "[ports.{a}]\nvlan.trunk = [\"300-310\"]\nvlan.native = 311\nlearning = false\n",
        shows: [
            &["link", "\"ifname\":\"{a}\"", "\"isolated\":true", "\"learning\":true"],
            &["link", "\"ifname\":\"{a}\"", "\"isolated\":false", "\"learning\":false"],
        ],
        refused: &[(
            Topology::Rocker,
            "set isolated on: bridge: bridge flag offload is not supported (EOPNOTSUPP)",
        )],
    },
    Object {
        name: "bridge port: reserved groups",
        round: 0,
        made: "[ports.{a}]\nvlan.access = 300\nforward-reserved = [\"lldp\"]\n",
        changed: "[ports.{a}]\nvlan.trunk = [\"300-310\"]\nvlan.native = 311\nforward-reserved = [\"lldp\", \"eapol\"]\n",
        shows: [
            &["link", "\"ifname\":\"{a}\"", "\"group_fwd_mask\":\"0x4000\""],
            &["link", "\"ifname\":\"{a}\"", "\"group_fwd_mask\":\"0x4008\""],
        ],
        refused: NOWHERE,
    },
    Object {
        name: "bridge: ageing, priority, snooping",
        round: 1,
        made: "[ports.{b}]\nvlan.access = 301\n[bridge]\nageing-time = 600\n",
        changed: "[ports.{b}]\nvlan.access = 301\n[bridge]\nageing-time = 200\npriority = 4096\nigmp-snooping = false\n",
        shows: [
            &["link", "\"ifname\":\"bridge\"", "\"ageing_time\":60000"],
            &[
                "link",
                "\"ifname\":\"bridge\"",
                "\"ageing_time\":20000",
                "\"mcast_snooping\":0",
                "\"priority\":4096",
            ],
        ],
        refused: NOWHERE,
    },
    Object {
        name: "bridge: spanning tree",
        round: 1,
        made: "[ports.{b}]\nvlan.access = 301\n[bridge]\nstp = true\n",
        changed: "[ports.{b}]\nvlan.access = 301\n[bridge]\nstp = false\n",
        shows: [
            &["link", "\"ifname\":\"bridge\"", "\"stp_state\":1"],
            &["link", "\"ifname\":\"bridge\"", "\"stp_state\":0"],
        ],
        refused: NOWHERE,
    },
    Object {
        name: "LAG: static",
        round: 0,
        made: "[lags.bundle]\nmembers = [\"{c}\"]\nmode = \"static\"\nvlan.access = 302\n",
        changed: "[lags.bundle]\nmembers = [\"{c}\"]\nmode = \"static\"\nhash = \"layer2\"\nvlan.access = 303\n",
        shows: [
            &[
                "link",
                "\"ifname\":\"bundle\"",
                "\"mode\":\"balance-xor\"",
                "\"xmit_hash_policy\":\"layer3+4\"",
            ],
            &["link", "\"ifname\":\"bundle\"", "\"mode\":\"balance-xor\"", "\"xmit_hash_policy\":\"layer2\""],
        ],
        refused: NOWHERE,
    },
    Object {
        name: "LAG: LACP",
        round: 1,
        made: "[lags.bundle]\nmembers = [\"{c}\", \"{d}\"]\nvlan.access = 302\n",
        changed: "[lags.bundle]\nmembers = [\"{c}\", \"{d}\"]\nlacp-rate = \"fast\"\nmin-links = 2\nvlan.access = 302\n",
        shows: [
            &["link", "\"ifname\":\"bundle\"", "\"mode\":\"802.3ad\"", "\"ad_lacp_rate\":\"slow\""],
            &["link", "\"ifname\":\"bundle\"", "\"ad_lacp_rate\":\"fast\"", "\"min_links\":2"],
        ],
        refused: NOWHERE,
    },
    Object {
        name: "VLAN interface",
        round: 0,
        made: "[vlans.300]\naddresses = [\"10.30.0.1/24\"]\n",
        changed: "[vlans.300]\naddresses = [\"10.30.1.1/24\", \"2001:db8:30::1/64\"]\npcp.egress = { 3 = 5 }\n",
        shows: [
            &["link", "\"ifname\":\"vlan300\"", "\"local\":\"10.30.0.1\""],
            &["link", "\"ifname\":\"vlan300\"", "\"local\":\"2001:db8:30::1\""],
        ],
        refused: NOWHERE,
    },
    Object {
        name: "subinterface",
        round: 0,
        made: "[ports.{b}]\n[subinterfaces.\"{b}.77\"]\naddresses = [\"10.77.0.1/24\"]\n",
        changed: "[ports.{b}]\n[subinterfaces.\"{b}.77\"]\naddresses = [\"10.77.1.1/24\"]\nmtu = 1400\n",
        shows: [
            &["link", "\"ifname\":\"{b}.77\"", "\"local\":\"10.77.0.1\""],
            &["link", "\"ifname\":\"{b}.77\"", "\"mtu\":1400"],
        ],
        refused: NOWHERE,
    },
    Object {
        name: "addresses of a routed port",
        round: 1,
        made: "[ports.{a}]\naddresses = [\"10.31.0.1/24\"]\n",
        changed: "[ports.{a}]\naddresses = [\"10.31.1.1/24\", \"2001:db8:31::1/64\"]\n",
        shows: [
            &["link", "\"ifname\":\"{a}\"", "\"local\":\"10.31.0.1\""],
            &["link", "\"ifname\":\"{a}\"", "\"local\":\"2001:db8:31::1\""],
        ],
        refused: NOWHERE,
    },
    Object {
        name: "VRF",
        round: 1,
        made: "[vrfs.red]\ntable = 1009\n[ports.{a}]\nvrf = \"red\"\n",
        changed: "[vrfs.red]\ntable = 1010\n[ports.{a}]\nvrf = \"red\"\n",
        shows: [
            &["link", "\"ifname\":\"red\"", "\"table\":1009"],
            &["link", "\"ifname\":\"red\"", "\"table\":1010"],
        ],
        refused: &[(Topology::Rocker, "not supported by the rocker driver of this switch: VRFs")],
    },
    Object {
        name: "loopback",
        round: 0,
        made: "[loopbacks.lo8]\naddresses = [\"198.51.100.8/32\"]\n",
        changed: "[loopbacks.lo8]\naddresses = [\"198.51.100.18/32\"]\n",
        shows: [
            &["link", "\"ifname\":\"lo8\"", "\"local\":\"198.51.100.8\""],
            &["link", "\"ifname\":\"lo8\"", "\"local\":\"198.51.100.18\""],
        ],
        refused: NOWHERE,
    },
    Object {
        name: "route: one gateway",
        round: 0,
        made: "[ports.{b}]\naddresses = [\"10.33.0.1/24\", \"2001:db8:37::1/64\"]\n\
               [[routes]]\nprefix = \"10.133.0.0/24\"\nvia = \"10.33.0.2\"\n",
        changed: "[ports.{b}]\naddresses = [\"10.33.0.1/24\", \"2001:db8:37::1/64\"]\n\
                  [[routes]]\nprefix = \"10.133.0.0/24\"\nvia = \"10.33.0.3\"\nmetric = 50\n",
        shows: [
            &["route", "\"dst\":\"10.133.0.0/24\"", "\"gateway\":\"10.33.0.2\""],
            &["route", "\"dst\":\"10.133.0.0/24\"", "\"gateway\":\"10.33.0.3\"", "\"metric\":50"],
        ],
        refused: NOWHERE,
    },
    Object {
        name: "route: ECMP with weights",
        round: 0,
        made: "[ports.{b}]\naddresses = [\"10.33.0.1/24\", \"2001:db8:37::1/64\"]\n\
               [[routes]]\nprefix = \"10.134.0.0/24\"\nvia = [\"10.33.0.2\", \"10.33.0.3\"]\nweights = [1, 2]\n",
        changed: "[ports.{b}]\naddresses = [\"10.33.0.1/24\", \"2001:db8:37::1/64\"]\n\
                  [[routes]]\nprefix = \"10.134.0.0/24\"\nvia = [\"10.33.0.2\", \"10.33.0.3\"]\nweights = [1, 3]\n",
        shows: [
            &["route", "\"dst\":\"10.134.0.0/24\"", "10.33.0.3", "\"weight\":2"],
            &["route", "\"dst\":\"10.134.0.0/24\"", "10.33.0.3", "\"weight\":3"],
        ],
        refused: NOWHERE,
    },
    Object {
        name: "route: blackhole, unreachable",
        round: 0,
        made: "[[routes]]\nprefix = \"10.136.0.0/24\"\nblackhole = true\n",
        changed: "[[routes]]\nprefix = \"10.136.0.0/24\"\nunreachable = true\n",
        shows: [
            &["route", "\"dst\":\"10.136.0.0/24\"", "blackhole"],
            &["route", "\"dst\":\"10.136.0.0/24\"", "unreachable"],
        ],
        refused: &[(
            Topology::Rocker,
            "not supported by the rocker driver of this switch: IPv4 routes that lead nowhere",
        )],
    },
    Object {
        name: "route: IPv6",
        round: 0,
        made: "[ports.{b}]\naddresses = [\"10.33.0.1/24\", \"2001:db8:37::1/64\"]\n\
               [[routes]]\nprefix = \"2001:db8:137::/64\"\nvia = \"2001:db8:37::2\"\n",
        changed: "[ports.{b}]\naddresses = [\"10.33.0.1/24\", \"2001:db8:37::1/64\"]\n\
                  [[routes]]\nprefix = \"2001:db8:137::/64\"\nblackhole = true\n",
        shows: [
            &["route6", "\"dst\":\"2001:db8:137::/64\"", "\"gateway\":\"2001:db8:37::2\""],
            &["route6", "\"dst\":\"2001:db8:137::/64\"", "blackhole"],
        ],
        refused: NOWHERE,
    },
    Object {
        name: "neighbour",
        round: 0,
        made: "[ports.{b}]\naddresses = [\"10.33.0.1/24\", \"2001:db8:37::1/64\"]\n\
               [[neighbours]]\naddress = \"10.33.0.9\"\nmac = \"02:00:00:00:38:02\"\ndev = \"{b}\"\n",
        changed: "[ports.{b}]\naddresses = [\"10.33.0.1/24\", \"2001:db8:37::1/64\"]\n\
                  [[neighbours]]\naddress = \"10.33.0.9\"\nmac = \"02:00:00:00:38:03\"\ndev = \"{b}\"\n",
        shows: [
            &["neighbour", "10.33.0.9", "02:00:00:00:38:02"],
            &["neighbour", "10.33.0.9", "02:00:00:00:38:03"],
        ],
        refused: NOWHERE,
    },
    Object {
        name: "static forwarding entry",
        round: 0,
        made: "[ports.{a}]\nvlan.access = 300\n[[fdb]]\nmac = \"02:00:00:00:39:01\"\nvlan = 300\nport = \"{a}\"\n",
        changed: "[ports.{a}]\nvlan.trunk = [\"300-310\"]\nvlan.native = 311\n[[fdb]]\nmac = \"02:00:00:00:39:02\"\nvlan = 300\nport = \"{a}\"\n",
        shows: [
            &["fdb", "02:00:00:00:39:01", "\"ifname\":\"{a}\""],
            &["fdb", "02:00:00:00:39:02", "\"ifname\":\"{a}\""],
        ],
        refused: NOWHERE,
    },
    Object {
        name: "static group",
        round: 0,
        made: "[ports.{a}]\nvlan.access = 300\n[[mdb]]\ngroup = \"239.9.9.1\"\nvlan = 300\nports = [\"{a}\"]\n",
        changed: "[ports.{a}]\nvlan.trunk = [\"300-310\"]\nvlan.native = 311\n[[mdb]]\ngroup = \"239.9.9.2\"\nvlan = 300\nports = [\"{a}\"]\n",
        shows: [&["mdb", "239.9.9.1", "{a}"], &["mdb", "239.9.9.2", "{a}"]],
        refused: NOWHERE,
    },
    Object {
        name: "VXLAN",
        round: 0,
        made: "[loopbacks.lo9]\naddresses = [\"198.51.100.9/32\"]\n[vxlans.vx9]\nvni = 9300\nvlan = 300\n\
               local = \"198.51.100.9\"\nremotes = [\"198.51.100.10\"]\n",
        changed: "[loopbacks.lo9]\naddresses = [\"198.51.100.9/32\"]\n[vxlans.vx9]\nvni = 9301\nvlan = 300\n\
                  local = \"198.51.100.9\"\nremotes = [\"198.51.100.11\"]\n",
        shows: [
            &["fdb", "\"ifname\":\"vx9\"", "198.51.100.10"],
            &["fdb", "\"ifname\":\"vx9\"", "198.51.100.11"],
        ],
        refused: NOWHERE,
    },
];
