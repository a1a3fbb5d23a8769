//! Frames while netd is killed, and proof that the check would notice a gap.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::numbered::{Stream, Tally};
use crate::lab::{Lab, Topology, eventually};
use crate::runner::{Run, Scenario};

pub const SCENARIOS: [Scenario; 2] = [
    Scenario {
        name: "numbered frames cross without a gap while netd is killed, and the state is right again after",
        topology: Topology::Switch,
        show: netd_killed,
    },
    Scenario {
        name: "the check for gaps notices a flap of the port",
        topology: Topology::Switch,
        show: a_flap_is_noticed,
    },
];

/// Frames a second. Each fits well within what translated processors forward.
const RATE: u32 = 500;
/// Frames that must cross before and after the disturbance.
const MARGIN: u64 = RATE as u64;

/// Sends numbered frames from swp9 to swp10 around a disturbance.
fn frames_around(lab: &Lab, disturb: impl FnOnce() -> Result<()>) -> Result<Tally> {
    let mut stream = Stream::start(lab.vm.wire(9)?, lab.vm.wire(10)?, RATE)?;
    stream.wait_for_more(MARGIN, Duration::from_secs(30))?;
    disturb()?;
    stream.wait_for_more(MARGIN, Duration::from_secs(60))?;
    stream.finish()
}

fn netd_killed(lab: &Lab, _: &Run) -> Result<String> {
    let before = lab.visible_state()?;
    let tally = frames_around(lab, || {
        let pid = lab.vm.run("systemctl show -p MainPID --value netd.service")?;
        let pid = pid.trim();
        ensure!(pid != "0", "netd does not run");
        lab.vm.run(&format!("kill -9 {pid}"))?;
        let anew = format!(
            "until systemctl is-active --quiet netd.service && [ $(systemctl show -p MainPID --value netd.service) != {pid} ]; \
             do sleep 0.1; done"
        );
        lab.vm.run(&anew)?;
        lab.wait_for_netd(Duration::from_secs(60))
    })?;
    ensure!(tally.missing.is_empty(), "{} ({RATE} a second)", tally.gaps());
    eventually("the state is as before", Duration::from_secs(20), || {
        let after = lab.visible_state()?;
        ensure!(after == before, "before: {before}\nafter: {after}");
        Ok(())
    })?;
    Ok(format!("{} frames at {RATE} a second, none missing", tally.sent))
}

fn a_flap_is_noticed(lab: &Lab, _: &Run) -> Result<String> {
    let tally = frames_around(lab, || {
        lab.vm.set_link(10, false)?;
        lab.vm.run("until [ $(cat /sys/class/net/swp10/carrier) = 0 ]; do sleep 0.05; done")?;
        lab.vm.set_link(10, true)?;
        lab.vm.run("until [ $(cat /sys/class/net/swp10/carrier) = 1 ]; do sleep 0.05; done").map(drop)
    })?;
    ensure!(!tally.missing.is_empty(), "a port flapped under {} frames and the check saw no gap", tally.sent);
    Ok(tally.gaps())
}
