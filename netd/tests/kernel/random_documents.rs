//! Random documents of a small switch, at and beyond every limit: most are valid.

use std::fmt::Write;

use crate::random::Random;

/// Ports of the switch.
pub const PORTS: usize = 6;

/// What the running kernel can do: that of a build host often knows no VLANs in bridges, no VRFs and no LAGs.
#[derive(Clone, Copy)]
pub struct Kernel {
    pub has_vlans: bool,
}

/// A document.
pub fn document(random: &mut Random, kernel: Kernel) -> String {
    let mut text = "version = 1\n".to_owned();
    routing(random, &mut text);
    let vrfs = if kernel.has_vlans { vrfs(random, &mut text) } else { Vec::new() };
    let mut devices = loopbacks(random, &mut text, kernel, &vrfs);
    if kernel.has_vlans {
        bridge(random, &mut text);
    }
    let members = if kernel.has_vlans { lags(random, &mut text, &vrfs, &mut devices) } else { Vec::new() };
    for number in 1..=PORTS {
        let name = format!("swp{number}");
        if members.contains(&name) || random.chance(15) {
            continue;
        }
        let _ = writeln!(text, "[ports.{name}]");
        ethernet(random, &mut text);
        if random.chance(20) {
            let _ = writeln!(text, "mac = \"02:00:00:00:{number:02x}:{:02x}\"", random.below(4));
        }
        role(random, &mut text, &name, kernel, &vrfs, &mut devices);
    }
    if kernel.has_vlans {
        subinterfaces(random, &mut text, &vrfs, &mut devices);
        vlans(random, &mut text, &vrfs, &mut devices);
        tunnel(random, &mut text);
        static_entries(random, &mut text);
    }
    routes(random, &mut text, &vrfs, &devices);
    neighbours(random, &mut text, &devices);
    text
}

fn routing(random: &mut Random, text: &mut String) {
    if random.chance(60) {
        return;
    }
    text.push_str("[routing]\n");
    for key in ["ipv4 = false", "ipv6 = false", "ecmp-hash = \"layer3\"", "reverse-path = \"strict\""] {
        if random.chance(30) {
            let _ = writeln!(text, "{key}");
        }
    }
}

fn vrfs(random: &mut Random, text: &mut String) -> Vec<String> {
    let names: Vec<String> = ["blue", "red", "a-name-15-bytes"]
        .into_iter()
        .filter(|_| random.chance(40))
        .map(str::to_owned)
        .collect();
    for (number, name) in names.iter().enumerate() {
        let _ = writeln!(text, "[vrfs.{name}]\ntable = {}", 1001 + number as u64 * 3 + random.below(2));
    }
    names
}

/// Descriptions of every length that may be too long in characters or in bytes.
fn words(random: &mut Random, most: usize) -> String {
    let letter = *random.pick(&["a", "é", "€", "\u{1f600}"]);
    let length = match random.below(5) {
        0 => most,
        1 => most + 1,
        2 => (255 / letter.len()).min(most),
        3 => (256 / letter.len()).min(most),
        _ => random.below(20) as usize,
    };
    letter.repeat(length)
}

fn mtu(random: &mut Random) -> Option<u64> {
    let limits = [67, 68, 576, 1279, 1280, 1281, 1450, 1500, 4000, 9000, 9216, 9217];
    random.chance(40).then(|| *random.pick(&limits))
}

fn ethernet(random: &mut Random, text: &mut String) {
    if random.chance(30) {
        let _ = writeln!(text, "description = \"{}\"", words(random, 200));
    }
    if let Some(mtu) = mtu(random) {
        let _ = writeln!(text, "mtu = {mtu}");
    }
    if random.chance(10) {
        text.push_str("enabled = false\n");
    }
}

/// In VLANs, routed, or neither.
fn role(
    random: &mut Random,
    text: &mut String,
    name: &str,
    kernel: Kernel,
    vrfs: &[String],
    devices: &mut Vec<String>,
) {
    match random.below(if kernel.has_vlans { 4 } else { 2 }) {
        0 => {}
        1 => {
            layer3(random, text, vrfs);
            devices.push(name.to_owned());
        }
        _ => bridged(random, text),
    }
}

fn bridged(random: &mut Random, text: &mut String) {
    if random.chance(40) {
        let _ = writeln!(text, "vlan.access = {}", 10 + random.below(4));
    } else {
        // All VLANs seldom: each is an entry in the forwarding database.
        let list = match random.chance(5) {
            true => "[\"2-4094\"]",
            false => random.pick(&["[\"10-13\"]", "[10, 12]", "[\"10-40\", 4094]", "[11]"]),
        };
        let _ = writeln!(text, "vlan.trunk = {list}");
        if random.chance(40) {
            let _ = writeln!(text, "vlan.native = {}", 10 + random.below(5));
        }
    }
    for key in ["isolated = true", "learning = false", "forward-reserved = [\"lldp\", \"eapol\"]"] {
        if random.chance(20) {
            let _ = writeln!(text, "{key}");
        }
    }
}

fn layer3(random: &mut Random, text: &mut String, vrfs: &[String]) {
    if !vrfs.is_empty() && random.chance(40) {
        let _ = writeln!(text, "vrf = \"{}\"", random.pick(vrfs));
    }
    // Order matters: the first address of a subnet is the one the switch speaks from.
    let subnet = random.below(40);
    let mut addresses: Vec<String> = (1..=random.below(4))
        .map(|host| match random.chance(60) {
            true => format!("\"10.0.{subnet}.{host}/24\""),
            false => format!("\"2001:db8:{subnet}::{host}/64\""),
        })
        .collect();
    if random.chance(50) {
        addresses.reverse();
    }
    if !addresses.is_empty() {
        let _ = writeln!(text, "addresses = [{}]", addresses.join(", "));
    }
}

fn loopbacks(random: &mut Random, text: &mut String, kernel: Kernel, vrfs: &[String]) -> Vec<String> {
    if !kernel.has_vlans {
        return Vec::new();
    }
    text.push_str("[loopbacks.lo0]\naddresses = [\"198.51.100.1/32\", \"2001:db8:ffff::1/128\"]\n");
    if !vrfs.is_empty() && random.chance(50) {
        let _ = writeln!(text, "[loopbacks.lo1]\nvrf = \"{}\"\naddresses = [\"198.51.100.2/32\"]", vrfs[0]);
    }
    Vec::new()
}

fn bridge(random: &mut Random, text: &mut String) {
    if random.chance(50) {
        return;
    }
    text.push_str("[bridge]\n");
    let ageing = *random.pick(&[0, 9, 10, 300, 1_000_000, 1_000_001]);
    let priority = *random.pick(&[0, 4096, 32_768, 61_440, 61_441]);
    for (key, value) in [("ageing-time", ageing), ("priority", priority)] {
        if random.chance(30) {
            let _ = writeln!(text, "{key} = {value}");
        }
    }
    for key in ["stp = true", "querier = true", "most-groups = 1", "most-learned = 10"] {
        if random.chance(30) {
            let _ = writeln!(text, "{key}");
        }
    }
}

/// LAGs; answers their members.
fn lags(random: &mut Random, text: &mut String, vrfs: &[String], devices: &mut Vec<String>) -> Vec<String> {
    let mut free: Vec<String> = (1..=PORTS).map(|number| format!("swp{number}")).collect();
    let mut members = Vec::new();
    for name in ["lag1", "uplink"].into_iter().take(random.below(3) as usize) {
        let mut here: Vec<String> = Vec::new();
        for _ in 0..=random.below(2) {
            here.push(free.remove(random.below(free.len() as u64) as usize));
        }
        let quoted: Vec<String> = here.iter().map(|name| format!("\"{name}\"")).collect();
        let _ = writeln!(text, "[lags.{name}]\nmembers = [{}]", quoted.join(", "));
        let modes = [
            "mode = \"lacp\"",
            "mode = \"static\"",
            "mode = \"lacp\"\nlacp-rate = \"fast\"",
            "lacp-select = \"bandwidth\"",
        ];
        let _ = writeln!(text, "{}", random.pick(&modes));
        if random.chance(30) {
            let _ = writeln!(text, "min-links = {}", 1 + random.below(2));
        }
        if random.chance(30) {
            let _ = writeln!(text, "hash = \"{}\"", random.pick(&["layer2", "layer2+3", "layer3+4"]));
        }
        ethernet(random, text);
        role(random, text, name, Kernel { has_vlans: true }, vrfs, devices);
        for member in &here {
            if random.chance(30) {
                let _ = writeln!(text, "[ports.{member}]\ndescription = \"member\"");
            }
        }
        members.extend(here);
    }
    members
}

/// In VLANs of the first ports, whatever these are: a port of the bridge or with addresses may have none.
fn subinterfaces(random: &mut Random, text: &mut String, vrfs: &[String], devices: &mut Vec<String>) {
    for number in 1..=2 {
        if random.chance(85) {
            continue;
        }
        let name = format!("swp{number}.{}", random.pick(&[1, 100, 4094]));
        let _ = writeln!(text, "[subinterfaces.\"{name}\"]");
        ethernet(random, text);
        priorities(random, text);
        layer3(random, text, vrfs);
        devices.push(name);
    }
}

fn priorities(random: &mut Random, text: &mut String) {
    for key in ["pcp.ingress", "pcp.egress"] {
        if random.chance(20) {
            let (from, to) = (random.below(8), random.below(8));
            let _ = writeln!(text, "{key} = {{ {from} = {to}, {} = 7 }}", (from + 1) % 8);
        }
    }
}

fn vlans(random: &mut Random, text: &mut String, vrfs: &[String], devices: &mut Vec<String>) {
    for id in 10..14 {
        if random.chance(50) {
            continue;
        }
        let _ = writeln!(text, "[vlans.{id}]");
        if random.chance(40) {
            let _ = writeln!(text, "name = \"{}{id}\"", words(random, 62));
        }
        if random.chance(30) {
            let _ = writeln!(text, "querier = {}", random.chance(50));
        }
        if random.chance(60) {
            priorities(random, text);
            layer3(random, text, vrfs);
            devices.push(format!("vlan{id}"));
        }
    }
}

fn tunnel(random: &mut Random, text: &mut String) {
    if random.chance(30) {
        let remotes = random.pick(&["\"198.51.100.9\"", "\"198.51.100.9\", \"198.51.100.10\""]);
        let (vni, vlan) = (random.pick(&[1, 10, 16_777_215]), 10 + random.below(4));
        let _ = writeln!(
            text,
            "[vxlans.vx{vlan}]\nvni = {vni}\nvlan = {vlan}\nlocal = \"198.51.100.1\"\nremotes = [{remotes}]"
        );
    }
}

fn static_entries(random: &mut Random, text: &mut String) {
    // Most name a port that is not in the VLAN.
    let most = if random.chance(20) { 3 } else { 1 };
    for number in 0..random.below(most) {
        let (vlan, port) = (10 + random.below(4), 1 + random.below(PORTS as u64));
        let _ = writeln!(
            text,
            "[[fdb]]\nmac = \"02:aa:00:00:00:0{number}\"\nvlan = {vlan}\nport = \"swp{port}\"\n\
             [[mdb]]\ngroup = \"239.1.1.{number}\"\nvlan = {vlan}\nports = [\"swp{port}\"]"
        );
    }
}

fn routes(random: &mut Random, text: &mut String, vrfs: &[String], devices: &[String]) {
    for number in 0..random.below(5) {
        let ipv6 = random.chance(30);
        let _ = match ipv6 {
            false => writeln!(text, "[[routes]]\nprefix = \"203.0.{number}.0/24\""),
            true => writeln!(text, "[[routes]]\nprefix = \"2001:db8:ff:{number}::/64\""),
        };
        next_hops(random, text, ipv6, devices);
        if !vrfs.is_empty() && random.chance(30) {
            let _ = writeln!(text, "vrf = \"{}\"", random.pick(vrfs));
        }
        match random.below(10) {
            0 | 1 => {
                let _ = writeln!(text, "metric = {}", random.pick(&[0_u32, 1, 255, 1024, u32::MAX]));
            }
            2 => {
                let _ = writeln!(text, "distance = {}", random.pick(&[1, 2, 254, 255]));
            }
            _ => {}
        }
    }
}

fn next_hops(random: &mut Random, text: &mut String, ipv6: bool, devices: &[String]) {
    let subnet = random.below(40);
    let hop = |host: u64| match ipv6 {
        false => format!("\"10.0.{subnet}.{host}\""),
        true => format!("\"2001:db8:{subnet}::{host}\""),
    };
    match random.below(5) {
        0 => text.push_str("blackhole = true\n"),
        1 => text.push_str("unreachable = true\n"),
        2 => {
            let _ = writeln!(text, "via = {}", hop(200));
            // The next hop is there whatever subnets the interface has.
            if let (false, true) = (devices.is_empty(), random.chance(50)) {
                let _ = writeln!(text, "dev = \"{}\"", random.pick(devices));
            }
        }
        _ => {
            let _ = writeln!(text, "via = [{}, {}]", hop(200), hop(201));
            if random.chance(50) {
                let _ =
                    writeln!(text, "weights = [{}, {}]", random.pick(&[1, 2, 256, 257]), 1 + random.below(3));
            }
        }
    }
}

fn neighbours(random: &mut Random, text: &mut String, devices: &[String]) {
    if let (false, true) = (devices.is_empty(), random.chance(40)) {
        let (device, subnet) = (random.pick(devices), random.below(40));
        let _ = writeln!(
            text,
            "[[neighbours]]\naddress = \"10.0.{subnet}.77\"\nmac = \"02:bb:00:00:00:01\"\ndev = \"{device}\""
        );
    }
}
