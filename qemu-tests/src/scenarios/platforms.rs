//! Every object on every platform: made, changed, adopted by a netd that is started anew, deleted; or refused, in
//! the driver's own words, with nothing left behind. The kernel's own tools say what it holds.
//!
//! [`OBJECTS`] is the table; `cargo os soak objects` goes through it. It is not complete: which objects a
//! platform refuses, and in which words, is still to be filled in. The fourth platform, pairs of virtual ports (veth), is what the tests of netd's
//! kernel room are made of: they run here, on the image's own kernel.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use qemu_tests::tools;

use super::kernel_dump;
use crate::lab::{Lab, Topology};
use crate::runner::{Run, Scenario};

pub const SCENARIOS: [Scenario; 4] = [
    Scenario::new(
        "objects on virtio ports are made, changed, adopted and deleted, or refused in the driver's words",
        Topology::Switch,
        table,
    )
    .soaks("objects")
    .only_in_full(),
    Scenario::new(
        "objects on veth pairs: netd's kernel room passes its tests on the image's own kernel",
        Topology::Switch,
        kernel_room,
    )
    .soaks("objects")
    .only_in_full(),
    Scenario::new(
        "objects on the ASIC's ports are made, changed, adopted and deleted, or refused in the driver's words",
        Topology::Rocker,
        table,
    )
    .soaks("objects")
    .only_in_full(),
    Scenario::new(
        "objects on a simulated ASIC are made, changed, adopted and deleted, or refused in the driver's words",
        Topology::Netdevsim,
        table,
    )
    .soaks("objects")
    .only_in_full(),
];

/// An object of the configuration. Ports `{a}` and `{b}` are free ones of the platform.
struct Object {
    name: &'static str,
    /// What makes it.
    made: &'static str,
    /// What changes it.
    changed: &'static str,
    /// Parts of one line of the kernel's own account, once it is made, and once it is changed.
    shows: [&'static [&'static str]; 2],
    /// Where it is refused, and what the driver says.
    refused: &'static [(Topology, &'static str)],
}

const OBJECTS: [Object; 24] = [
    Object {
        name: "port: description, MTU, administrative state",
        made: "[ports.{a}]\ndescription = \"one\"\nmtu = 1400\n",
        changed: "[ports.{a}]\ndescription = \"two\"\nmtu = 1300\nenabled = false\n",
        shows: [
            &["link", "\"ifname\":\"{a}\"", "\"ifalias\":\"one\"", "\"mtu\":1400", "\"UP\""],
            &["link", "\"ifname\":\"{a}\"", "\"ifalias\":\"two\"", "\"mtu\":1300"],
        ],
        refused: &[],
    },
    Object {
        name: "port: hardware address",
        made: "[ports.{a}]\nmac = \"02:00:00:00:aa:01\"\n",
        changed: "[ports.{a}]\nmac = \"02:00:00:00:aa:02\"\n",
        shows: [
            &["link", "\"ifname\":\"{a}\"", "02:00:00:00:aa:01"],
            &["link", "\"ifname\":\"{a}\"", "02:00:00:00:aa:02"],
        ],
        refused: &[],
    },
    Object {
        name: "port: speed and duplex",
        made: "[ports.{a}]\nspeed = \"10G\"\nduplex = \"full\"\n",
        changed: "[ports.{a}]\nspeed = \"1G\"\nduplex = \"half\"\n",
        shows: [&["speed {a} 10000 full"], &["speed {a} 1000 half"]],
        refused: &[],
    },
    Object {
        name: "port: FEC",
        made: "[ports.{a}]\nfec = \"rs\"\n",
        changed: "[ports.{a}]\nfec = \"off\"\n",
        shows: [&["\"ifname\":\"{a}\""], &["\"ifname\":\"{a}\""]],
        refused: &[],
    },
    Object {
        name: "port: breakout",
        made: "[ports.{a}]\nbreakout = 4\n",
        changed: "",
        shows: [&[], &[]],
        refused: &[],
    },
    Object {
        name: "VLANs of a port",
        made: "[ports.{a}]\nvlan.access = 300\n",
        changed: "[ports.{a}]\nvlan.trunk = [\"300-310\"]\nvlan.native = 311\n",
        shows: [
            &["vlan", "\"ifname\":\"{a}\"", "\"vlan\":300", "PVID"],
            &["vlan", "\"ifname\":\"{a}\"", "\"vlan\":300", "\"vlanEnd\":310"],
        ],
        refused: &[],
    },
    Object {
        name: "bridge port: isolation, learning",
        made: "[ports.{a}]\nvlan.access = 300\nisolated = true\n",
        changed: "[ports.{a}]\nvlan.access = 300\nlearning = false\n",
        shows: [
            &["link", "\"ifname\":\"{a}\"", "\"isolated\":true"],
            &["link", "\"ifname\":\"{a}\"", "\"learning\":false"],
        ],
        refused: &[],
    },
    Object {
        name: "bridge port: reserved groups",
        made: "[ports.{a}]\nvlan.access = 300\nforward-reserved = [\"lldp\"]\n",
        changed: "[ports.{a}]\nvlan.access = 300\nforward-reserved = [\"lldp\", \"eapol\"]\n",
        shows: [
            &["link", "\"ifname\":\"{a}\"", "\"group_fwd_mask\":\"0x4000\""],
            &["link", "\"ifname\":\"{a}\"", "\"group_fwd_mask\":\"0x4008\""],
        ],
        refused: &[],
    },
    Object {
        name: "bridge: ageing, snooping, spanning tree",
        made: "[ports.{a}]\nvlan.access = 300\n[bridge]\nageing-time = 600\n",
        changed: "[ports.{a}]\nvlan.access = 300\n[bridge]\nageing-time = 300\nstp = true\nigmp-snooping = false\n",
        shows: [
            &["link", "\"ifname\":\"bridge\"", "\"ageing_time\":60000"],
            &["link", "\"ifname\":\"bridge\"", "\"stp_state\":1", "\"mcast_snooping\":0"],
        ],
        refused: &[],
    },
    Object {
        name: "LAG: static",
        made: "[lags.bundle]\nmembers = [\"{a}\", \"{b}\"]\nmode = \"static\"\nvlan.access = 300\n",
        changed: "[lags.bundle]\nmembers = [\"{b}\"]\nmode = \"static\"\nhash = \"layer2\"\nvlan.access = 301\n",
        shows: [
            &[
                "link",
                "\"ifname\":\"bundle\"",
                "\"mode\":\"balance-xor\"",
                "\"xmit_hash_policy\":\"layer3+4\"",
            ],
            &["link", "\"ifname\":\"bundle\"", "\"mode\":\"balance-xor\"", "\"xmit_hash_policy\":\"layer2\""],
        ],
        refused: &[],
    },
    Object {
        name: "LAG: LACP",
        made: "[lags.bundle]\nmembers = [\"{a}\", \"{b}\"]\nvlan.access = 300\n",
        changed: "[lags.bundle]\nmembers = [\"{a}\", \"{b}\"]\nlacp-rate = \"fast\"\nmin-links = 2\nvlan.access = 300\n",
        shows: [
            &["link", "\"ifname\":\"bundle\"", "\"mode\":\"802.3ad\"", "\"ad_lacp_rate\":\"slow\""],
            &["link", "\"ifname\":\"bundle\"", "\"ad_lacp_rate\":\"fast\"", "\"min_links\":2"],
        ],
        refused: &[],
    },
    Object {
        name: "VLAN interface",
        made: "[ports.{a}]\nvlan.access = 300\n[vlans.300]\naddresses = [\"10.30.0.1/24\"]\n",
        changed: "[ports.{a}]\nvlan.access = 300\n[vlans.300]\naddresses = [\"10.30.1.1/24\", \"2001:db8:30::1/64\"]\n\
                  pcp.egress = { 3 = 5 }\n",
        shows: [
            &["link", "\"ifname\":\"vlan300\"", "\"local\":\"10.30.0.1\""],
            &["link", "\"ifname\":\"vlan300\"", "\"local\":\"2001:db8:30::1\""],
        ],
        refused: &[],
    },
    Object {
        name: "subinterface",
        made: "[ports.{a}]\n[subinterfaces.\"{a}.77\"]\naddresses = [\"10.77.0.1/24\"]\n",
        changed: "[ports.{a}]\n[subinterfaces.\"{a}.77\"]\naddresses = [\"10.77.1.1/24\"]\nmtu = 1400\n",
        shows: [
            &["link", "\"ifname\":\"{a}.77\"", "\"local\":\"10.77.0.1\""],
            &["link", "\"ifname\":\"{a}.77\"", "\"mtu\":1400"],
        ],
        refused: &[],
    },
    Object {
        name: "addresses of a routed port",
        made: "[ports.{a}]\naddresses = [\"10.31.0.1/24\"]\n",
        changed: "[ports.{a}]\naddresses = [\"10.31.1.1/24\", \"2001:db8:31::1/64\"]\n",
        shows: [
            &["link", "\"ifname\":\"{a}\"", "\"local\":\"10.31.0.1\""],
            &["link", "\"ifname\":\"{a}\"", "\"local\":\"2001:db8:31::1\""],
        ],
        refused: &[],
    },
    Object {
        name: "VRF",
        made: "[vrfs.red]\ntable = 1009\n[ports.{a}]\nvrf = \"red\"\naddresses = [\"10.32.0.1/24\"]\n",
        changed: "[vrfs.red]\ntable = 1010\n[ports.{a}]\nvrf = \"red\"\naddresses = [\"10.32.0.1/24\"]\n",
        shows: [
            &["link", "\"ifname\":\"red\"", "\"table\":1009"],
            &["link", "\"ifname\":\"red\"", "\"table\":1010"],
        ],
        refused: &[],
    },
    Object {
        name: "loopback",
        made: "[loopbacks.lo9]\naddresses = [\"198.51.100.9/32\"]\n",
        changed: "[loopbacks.lo9]\naddresses = [\"198.51.100.19/32\"]\n",
        shows: [
            &["link", "\"ifname\":\"lo9\"", "\"local\":\"198.51.100.9\""],
            &["link", "\"ifname\":\"lo9\"", "\"local\":\"198.51.100.19\""],
        ],
        refused: &[],
    },
    Object {
        name: "route: one gateway",
        made: "[ports.{a}]\naddresses = [\"10.33.0.1/24\"]\n[[routes]]\nprefix = \"10.133.0.0/24\"\nvia = \"10.33.0.2\"\n",
        changed: "[ports.{a}]\naddresses = [\"10.33.0.1/24\"]\n[[routes]]\nprefix = \"10.133.0.0/24\"\nvia = \"10.33.0.3\"\n\
                  metric = 50\n",
        shows: [
            &["route", "\"dst\":\"10.133.0.0/24\""],
            &["route", "\"dst\":\"10.133.0.0/24\"", "\"metric\":50"],
        ],
        refused: &[],
    },
    Object {
        name: "route: ECMP",
        made: "[ports.{a}]\naddresses = [\"10.34.0.1/24\"]\n[ports.{b}]\naddresses = [\"10.35.0.1/24\"]\n\
               [[routes]]\nprefix = \"10.134.0.0/24\"\nvia = [\"10.34.0.2\", \"10.35.0.2\"]\n",
        changed: "[ports.{a}]\naddresses = [\"10.34.0.1/24\"]\n[ports.{b}]\naddresses = [\"10.35.0.1/24\"]\n\
                  [[routes]]\nprefix = \"10.134.0.0/24\"\nvia = [\"10.34.0.2\", \"10.35.0.2\"]\nweights = [1, 3]\n",
        shows: [&["route", "\"dst\":\"10.134.0.0/24\""], &["route", "\"dst\":\"10.134.0.0/24\""]],
        refused: &[],
    },
    Object {
        name: "route: blackhole, unreachable",
        made: "[[routes]]\nprefix = \"10.136.0.0/24\"\nblackhole = true\n",
        changed: "[[routes]]\nprefix = \"10.136.0.0/24\"\nunreachable = true\n",
        shows: [
            &["route", "\"dst\":\"10.136.0.0/24\"", "blackhole"],
            &["route", "\"dst\":\"10.136.0.0/24\"", "unreachable"],
        ],
        refused: &[],
    },
    Object {
        name: "route: IPv6",
        made: "[ports.{a}]\naddresses = [\"2001:db8:37::1/64\"]\n[[routes]]\nprefix = \"2001:db8:137::/64\"\n\
               via = \"2001:db8:37::2\"\n",
        changed: "[ports.{a}]\naddresses = [\"2001:db8:37::1/64\"]\n[[routes]]\nprefix = \"2001:db8:137::/64\"\n\
                  blackhole = true\n",
        shows: [
            &["route6", "\"dst\":\"2001:db8:137::/64\""],
            &["route6", "\"dst\":\"2001:db8:137::/64\"", "blackhole"],
        ],
        refused: &[],
    },
    Object {
        name: "neighbour",
        made: "[ports.{a}]\naddresses = [\"10.38.0.1/24\"]\n[[neighbours]]\naddress = \"10.38.0.2\"\n\
               mac = \"02:00:00:00:38:02\"\ndev = \"{a}\"\n",
        changed: "[ports.{a}]\naddresses = [\"10.38.0.1/24\"]\n[[neighbours]]\naddress = \"10.38.0.2\"\n\
                  mac = \"02:00:00:00:38:03\"\ndev = \"{a}\"\n",
        shows: [
            &["neighbour", "10.38.0.2", "02:00:00:00:38:02"],
            &["neighbour", "10.38.0.2", "02:00:00:00:38:03"],
        ],
        refused: &[],
    },
    Object {
        name: "static forwarding entry",
        made: "[ports.{a}]\nvlan.access = 300\n[[fdb]]\nmac = \"02:00:00:00:39:01\"\nvlan = 300\nport = \"{a}\"\n",
        changed: "[ports.{a}]\nvlan.access = 300\n[[fdb]]\nmac = \"02:00:00:00:39:02\"\nvlan = 300\nport = \"{a}\"\n",
        shows: [
            &["fdb", "02:00:00:00:39:01", "\"ifname\":\"{a}\""],
            &["fdb", "02:00:00:00:39:02", "\"ifname\":\"{a}\""],
        ],
        refused: &[],
    },
    Object {
        name: "static group",
        made: "[ports.{a}]\nvlan.access = 300\n[[mdb]]\ngroup = \"239.9.9.1\"\nvlan = 300\nports = [\"{a}\"]\n",
        changed: "[ports.{a}]\nvlan.access = 300\n[[mdb]]\ngroup = \"239.9.9.2\"\nvlan = 300\nports = [\"{a}\"]\n",
        shows: [&["mdb", "239.9.9.1", "{a}"], &["mdb", "239.9.9.2", "{a}"]],
        refused: &[],
    },
    Object {
        name: "VXLAN",
        made: "[ports.{a}]\nvlan.access = 300\n[loopbacks.lo9]\naddresses = [\"198.51.100.9/32\"]\n[vxlans.vx9]\nvni = 9300\n\
               vlan = 300\nlocal = \"198.51.100.9\"\nremotes = [\"198.51.100.10\"]\n",
        changed: "[ports.{a}]\nvlan.access = 300\n[loopbacks.lo9]\naddresses = [\"198.51.100.9/32\"]\n[vxlans.vx9]\nvni = 9301\n\
                  vlan = 300\nlocal = \"198.51.100.9\"\nremotes = [\"198.51.100.11\"]\n",
        shows: [
            &["fdb", "\"ifname\":\"vx9\"", "198.51.100.10"],
            &["fdb", "\"ifname\":\"vx9\"", "198.51.100.11"],
        ],
        refused: &[],
    },
];

/// A platform, as its lab offers it.
struct Platform {
    topology: Topology,
    free: [&'static str; 2],
    /// The lab's document without a word of the free ports.
    base: String,
}

impl Platform {
    fn of(lab: &Lab) -> Result<Platform> {
        let (free, taken): ([&str; 2], &[&str]) = match lab.topology {
            Topology::Switch => {
                (["swp11", "swp12"], &["[ports.swp11]\ndescription = \"pulled\"\nvlan.access = 60\n"])
            }
            Topology::Rocker => (
                ["swp3", "swp4"],
                &[
                    "[ports.swp3]\naddresses = [\"10.0.3.1/24\"]\n",
                    "[ports.swp4]\naddresses = [\"10.0.4.1/24\"]\n",
                ],
            ),
            Topology::Netdevsim => (["swp3", "swp4"], &[]),
            other => bail!("{other:?} has no free ports"),
        };
        let mut base = lab.document.clone();
        for section in taken {
            ensure!(base.contains(section), "the lab's document lacks {section:?}");
            base = base.replace(section, "");
        }
        Ok(Platform { topology: lab.topology, free, base })
    }

    fn fill(&self, text: &str) -> String {
        text.replace("{a}", self.free[0]).replace("{b}", self.free[1])
    }
}

fn table(lab: &Lab, _: &Run) -> Result<String> {
    let platform = Platform::of(lab)?;
    let outcome = all_objects(lab, &platform);
    lab.apply_ok(&lab.document)?;
    outcome
}

fn all_objects(lab: &Lab, platform: &Platform) -> Result<String> {
    lab.apply_ok(&platform.base)?;
    let (mut rows, mut failed) = (Vec::new(), Vec::new());
    for object in &OBJECTS {
        match life(lab, platform, object) {
            Ok(row) => rows.push(format!("{}: {row}", object.name)),
            // The whole table is told, and each object begins on the same ground.
            Err(error) => {
                failed.push(format!("{}: {error:#}", object.name));
                lab.apply_ok(&platform.base)?;
            }
        }
    }
    ensure!(failed.is_empty(), "{} of {} objects:\n{}", failed.len(), OBJECTS.len(), failed.join("\n"));
    Ok(rows.join("\n"))
}

/// All that may happen to an object; answers how it went.
fn life(lab: &Lab, platform: &Platform, object: &Object) -> Result<String> {
    let before = account(lab, platform)?;
    let document = |text: &str| format!("{}\n{}", platform.base, platform.fill(text));
    let refusal = object.refused.iter().find(|(topology, _)| *topology == platform.topology);
    if let Some((_, words)) = refusal {
        let said = lab.apply(&document(object.made))?;
        ensure!(said.status != 0, "it was taken, though {words:?} was expected");
        ensure!(said.text.contains(words), "the driver's words {words:?} are not in: {}", said.text);
        same(&before, &account(lab, platform)?).context("a refused object left something behind")?;
        return Ok(format!("refused: {words}"));
    }
    lab.apply_ok(&document(object.made)).context("making it")?;
    has(&account(lab, platform)?, platform, object.shows[0]).context("once it is made")?;
    lab.apply_ok(&document(object.changed)).context("changing it")?;
    let changed = account(lab, platform)?;
    has(&changed, platform, object.shows[1]).context("once it is changed")?;
    lab.vm.run("systemctl restart netd.service")?;
    lab.wait_for_netd(Duration::from_secs(60))?;
    same(&changed, &account(lab, platform)?).context("a netd that was started anew changed it")?;
    lab.apply_ok(&platform.base).context("deleting it")?;
    same(&before, &account(lab, platform)?).context("once it is deleted")?;
    Ok("made, changed, adopted, deleted".to_owned())
}

/// What the kernel holds, the speed of the free ports included.
fn account(lab: &Lab, platform: &Platform) -> Result<Vec<String>> {
    let mut lines = kernel_dump::take(lab)?;
    for port in platform.free {
        let script = format!("cd /sys/class/net/{port}; echo $(cat speed duplex 2>/dev/null)");
        lines.push(format!("speed {port} {}", lab.vm.run(&script)?.trim()));
    }
    Ok(lines)
}

fn has(lines: &[String], platform: &Platform, parts: &[&str]) -> Result<()> {
    let parts: Vec<String> = parts.iter().map(|part| platform.fill(part)).collect();
    let found = lines.iter().any(|line| parts.iter().all(|part| line.contains(part)));
    let about: Vec<&String> = lines
        .iter()
        .filter(|line| {
            line.contains(&parts[..].concat()) || parts.get(1).is_some_and(|part| line.contains(part))
        })
        .collect();
    ensure!(found, "the kernel has no line with {parts:?}, only {about:#?}");
    Ok(())
}

fn same(one: &[String], other: &[String]) -> Result<()> {
    let differences = kernel_dump::differences(one, other);
    ensure!(differences.is_empty(), "{}", differences.join("\n"));
    Ok(())
}

/// The tests of netd's kernel room make veth pairs of their own, each in a network namespace of its own.
fn kernel_room(lab: &Lab, _: &Run) -> Result<String> {
    ensure!(lab.has_tools(), "it needs netd's tests: `cargo os test` hands them over with --tool");
    let script = format!("{}netd-kernel-tests --test-threads 2 2>&1", tools::USE);
    let output = lab.vm.sh_within(&script, Duration::from_secs(600))?;
    let summary = output.text.lines().rev().find(|line| line.starts_with("test result"));
    let summary = summary.with_context(|| format!("no result: {}", output.text))?;
    ensure!(output.status == 0, "{}", output.text);
    Ok(summary.to_owned())
}
