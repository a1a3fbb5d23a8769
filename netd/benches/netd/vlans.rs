//! VLANs 2 to 4000 on so many ports of a bridge. Only a kernel whose bridge knows VLANs can do it.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use netd::kernel::Connection;
use nix::sys::resource::UsageWho;

use crate::applying::{apply, measure};
use crate::subject::{Outcome, cpu, ip};

const FIRST: u16 = 2;
const LAST: u16 = 4000;
const PORTS_A_BATCH: usize = 8;

pub fn run(subject: &str, ports: u32, folder: &Path) -> Outcome {
    let names: Vec<String> = (1..=ports).map(|number| format!("swp{number}")).collect();
    for name in &names {
        ip(&format!("link add {name} type dummy"));
    }
    if subject == "netd" {
        return netd(&names, folder);
    }
    let alike = subject.ends_with("-alike");
    // As netd makes it: up, and members of groups known for each VLAN apart, which costs time for each.
    let (up, groups) = if alike { ("up", "mcast_vlan_snooping 1") } else { ("", "") };
    ip(&format!("link add bridge {up} type bridge vlan_filtering 1 vlan_default_pvid 0 {groups}"));
    for name in &names {
        ip(&format!("link set {name} master bridge up"));
    }
    match subject.trim_end_matches("-alike") {
        "lines" => bridge_batch(&names, folder, (FIRST..=LAST).map(|id| id.to_string())),
        "ranges" => bridge_batch(&names, folder, [format!("{FIRST}-{LAST}")].into_iter()),
        other => panic!("no subject {other}"),
    }
}

/// Batches of some ports each: bridge(8) keeps some 20 kB of each line for as long as it runs.
fn bridge_batch(ports: &[String], folder: &Path, ids: impl Iterator<Item = String> + Clone) -> Outcome {
    let mut files = Vec::new();
    for some in ports.chunks(PORTS_A_BATCH) {
        let lines =
            some.iter().flat_map(|port| ids.clone().map(move |id| format!("vlan add dev {port} vid {id}\n")));
        let file = folder.join(format!("bridge.{}.batch", files.len()));
        std::fs::write(&file, lines.collect::<String>()).expect("written");
        files.push(file);
    }
    let began = Instant::now();
    for file in files {
        let status = Command::new("bridge").arg("-batch").arg(&file).status().expect("bridge of iproute2");
        assert!(status.success());
    }
    let wall_s = began.elapsed().as_secs_f64();
    check(ports);
    Outcome { wall_s, cpu_s: cpu(UsageWho::RUSAGE_CHILDREN), ..Outcome::default() }
}

fn netd(ports: &[String], folder: &Path) -> Outcome {
    let file = folder.join("switch.toml");
    let document = |vlan: &str| format!("version = 1\n\n[ports.\"swp[1-{}]\"]\n{vlan}\n", ports.len());
    let own = ports.iter().cloned().collect();
    let mut connection = Connection::open().expect("netlink");
    // The bridge and its ports first, as for the others.
    std::fs::write(&file, document("vlan.trunk = [\"4001\"]")).expect("written");
    apply(&file, &own, &mut connection);
    std::fs::write(&file, document(&format!("vlan.trunk = [\"{FIRST}-{LAST}\"]"))).expect("written");
    let outcome = measure(&file, &own, &mut connection);
    check(ports);
    outcome
}

/// Each port has the VLANs, and no other.
fn check(ports: &[String]) {
    for port in [&ports[0], &ports[ports.len() - 1]] {
        let output = Command::new("bridge")
            .args(["-compressvlans", "vlan", "show", "dev", port])
            .output()
            .expect("bridge of iproute2");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains(&format!("{FIRST}-{LAST}")), "VLANs of {port}: {text}");
    }
}
