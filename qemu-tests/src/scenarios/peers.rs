//! Hosts with other programs: what real routing daemons say to each other passes as they expect.

use std::fs;
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use qemu_tests::frame::Mac;
use qemu_tests::host::linux::{DEVICE, LinuxHost};

use super::objects::with_document;
use crate::lab::{Lab, Topology, eventually};
use crate::runner::{Run, Scenario};

pub const SCENARIOS: [Scenario; 1] = [Scenario::new(
    "two hosts' BIRDs become OSPF neighbours of both families in a VLAN with a querier",
    Topology::Switch,
    ospf_neighbours,
)
.waits()
.takes(20)];

/// Daemons find each other within two times out, which are 4 s here, and exchange what they know.
const ADJACENCY: Duration = Duration::from_secs(60);
/// What one of them announces, of each family.
const ANNOUNCED: [&str; 2] = ["203.0.113.0/24", "2001:db8:113::/48"];

/// A host with a BIRD, which ends with it.
struct Router {
    // The host ends first, and the kernel ends BIRD with it.
    host: LinuxHost,
    _bird: Awaited,
}

/// A child that ends by itself; to drop it waits for that.
struct Awaited(Child);

impl Drop for Awaited {
    fn drop(&mut self) {
        // An error means that it was waited for already.
        let _ = self.0.wait();
    }
}

impl Router {
    /// A router in VLAN 10, at a port of it.
    fn start(lab: &Lab, port: u16) -> Result<Router> {
        let host = LinuxHost::plug(lab.vm.wire(port)?, Mac::of_host(port))?;
        host.address(&format!("10.0.10.{}/24", 100 + port))?;
        host.address(&format!("2001:db8:10::{}/64", 100 + port))?;
        let peer = host.peer();
        fs::write(peer.path("/etc/bird.conf"), configuration(port)).context("cannot configure BIRD")?;
        let mut bird = peer.command("bird");
        bird.args(["-f", "-c", "/etc/bird.conf", "-s", "/run/bird.ctl"]);
        bird.stdout(Stdio::null()).stderr(Stdio::null());
        let bird = Awaited(bird.spawn().context("cannot start BIRD")?);
        Ok(Router { host, _bird: bird })
    }

    /// What birdc(8) answers.
    fn ask(&self, words: &[&str]) -> Result<String> {
        let mut birdc = self.host.peer().command("birdc");
        let output = birdc.args(["-s", "/run/bird.ctl"]).args(words).output()?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// The first router announces prefixes, the others learn them.
fn configuration(port: u16) -> String {
    let announced = if port == 1 { ANNOUNCED } else { ["", ""] };
    let route = |prefix: &str| match prefix {
        "" => String::new(),
        prefix => format!("route {prefix} blackhole;"),
    };
    let area = format!(
        "area 0 {{ interface \"{DEVICE}\" {{ type broadcast; hello 1; dead count 4; wait 2; retransmit 2; }}; }};"
    );
    format!(
        "router id 10.0.10.{};\nprotocol device {{}}\n\
         protocol static {{ ipv4; {} }}\nprotocol static {{ ipv6; {} }}\n\
         protocol ospf v2 ospf4 {{ ipv4 {{ import all; export all; }}; {area} }}\n\
         protocol ospf v3 ospf6 {{ ipv6 {{ import all; export all; }}; {area} }}\n",
        100 + port,
        route(announced[0]),
        route(announced[1]),
    )
}

fn ospf_neighbours(lab: &Lab, _: &Run) -> Result<String> {
    let document = lab.document.clone() + "\n[bridge]\nquerier = true\n";
    with_document(lab, &document, || {
        let routers = [Router::start(lab, 1)?, Router::start(lab, 2)?];
        for protocol in ["ospf4", "ospf6"] {
            eventually("each is the other's full neighbour", ADJACENCY, || {
                for router in &routers {
                    let shown = router.ask(&["show", "ospf", "neighbors", protocol])?;
                    ensure!(shown.contains("Full/"), "{protocol}: {shown}");
                }
                Ok(())
            })?;
        }
        eventually("what one announces the other knows", ADJACENCY, || {
            for (prefix, protocol) in ANNOUNCED.iter().zip(["ospf4", "ospf6"]) {
                let shown = routers[1].ask(&["show", "route", "protocol", protocol])?;
                ensure!(shown.contains(prefix), "{protocol}: {shown}");
            }
            Ok(())
        })
    })
}
