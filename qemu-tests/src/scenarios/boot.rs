//! Booting: to a ready netd by either firmware, and how long it takes.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use qemu_tests::demo;
use qemu_tests::frame::Mac;
use qemu_tests::host::Host;
use qemu_tests::measure::Measurement;

use super::bridge::mac_of;
use super::frames::{At, cross};
use super::hosts::told;

use crate::lab::{Lab, Topology, USER, eventually};
use crate::runner::{Run, Scenario};

pub const SCENARIOS: [Scenario; 5] = [
    Scenario::new(
        "the image boots by BIOS to a ready netd and forwards frames",
        Topology::Switch,
        boots_by_bios,
    ),
    Scenario::new("the image boots by UEFI to a ready netd", Topology::Demo, boots_by_uefi).takes(33),
    Scenario::new(
        "the hosts of the demo reach each other and serve their pages",
        Topology::Demo,
        the_demo_works,
    )
    .takes(12),
    Scenario::new(
        "a changed configuration survives a reboot, whatever the switch was provisioned with",
        Topology::Demo,
        survives_a_reboot,
    )
    .takes(68),
    Scenario::new(
        "a startup configuration that cannot be read costs neither the network nor the login",
        Topology::Switch,
        survives_a_broken_startup,
    )
    .takes(50),
];

fn boots_by_bios(lab: &Lab, run: &Run) -> Result<String> {
    ensure!(!efi(lab)?, "the machine was booted by UEFI");
    lab.wait_for_netd(Duration::from_secs(30))?;
    let seconds = lab.boot.first_frame_s.context("no frame was awaited during the boot")?;
    run.measured(Measurement::new("kernel start to first forwarded frame", seconds, "s"));
    run.measured(Measurement::new("kernel start to netd ready", lab.boot.ready_s, "s"));
    Ok(format!("first frame {seconds:.1} s after the kernel's start"))
}

fn boots_by_uefi(lab: &Lab, run: &Run) -> Result<String> {
    ensure!(efi(lab)?, "the machine was not booted by UEFI");
    lab.wait_for_netd(Duration::from_secs(30))?;
    run.measured(Measurement::new("kernel start to netd ready (UEFI)", lab.boot.ready_s, "s"));
    let document = lab.vm.run("corten config")?;
    ensure!(
        document.trim() == lab.document.trim(),
        "the switch does not run the document it was provisioned with:\n{document}"
    );
    Ok(String::new())
}

fn efi(lab: &Lab) -> Result<bool> {
    Ok(lab.vm.sh("test -d /sys/firmware/efi")?.status == 0)
}

fn the_demo_works(lab: &Lab, _: &Run) -> Result<String> {
    let demo = demo::plug(&lab.vm)?;
    // The demo makes its own traffic: within half a minute the switch has learned every host.
    eventually("every port of the demo learned a host", Duration::from_secs(60), || {
        let fdb = lab.show("fdb")?;
        for port in 1..=lab.vm.ports() {
            let name = format!("swp{port}");
            let learned =
                fdb.iter().any(|entry| entry["port"] == name.as_str() && entry["kind"] == "learned");
            ensure!(learned, "nothing learned on {name}");
        }
        Ok(())
    })?;
    let ports = lab.vm.ports();
    for from in demo.hosts() {
        for (to, port) in demo.hosts().iter().zip(1..).filter(|(to, _)| to.name() != from.name()) {
            for v6 in [false, true] {
                from.ping_all_answered(to.ip(v6)?, 1)?;
            }
            serves_its_page(from, to, &demo::page(port, ports))?;
        }
    }
    Ok(format!("{ports} hosts, each with each"))
}

/// Fetches a host's page from another host.
fn serves_its_page(from: &Host, to: &Host, page: &str) -> Result<()> {
    let response = from.http_get(to.ip(false)?, Duration::from_secs(20))?;
    let body = response.split_once("\r\n\r\n").map(|(_, body)| body);
    ensure!(body == Some(page), "{} gets from {} instead of its page: {response:?}", from.name(), to.name());
    Ok(())
}

fn survives_a_reboot(lab: &Lab, _: &Run) -> Result<String> {
    let changed = lab.document.replace("demo host 1\"", "renamed\"");
    ensure!(changed != lab.document, "nothing was changed");
    lab.apply_ok(&changed)?;
    let boot = Duration::from_secs(240);
    let (mac, capture) = (mac_of(lab, "vlan10")?, lab.vm.wire(1)?.capture());
    lab.vm.reboot(boot)?;
    lab.wait_for_netd(boot)?;
    told(&capture, mac, "10.0.10.1".parse()?, "2001:db8:10::1".parse()?)?;
    let document = lab.vm.run("corten config")?;
    ensure!(document.trim() == changed.trim(), "after the reboot the switch runs:\n{document}");
    ensure!(lab.port("swp1")?["description"] == "renamed", "the change does not show: {}", lab.port("swp1")?);
    eventually("frames cross after the reboot", Duration::from_secs(30), || {
        cross(lab, At(1, None), At(2, None), Mac::BROADCAST)
    })?;
    lab.apply_ok(&lab.document)?;
    Ok(String::new())
}

fn survives_a_broken_startup(lab: &Lab, _: &Run) -> Result<String> {
    // Written as a change, so that there is a generation to fall back to whatever ran before.
    lab.apply_ok(&lab.document)?;
    lab.vm.run("echo 'vlan 10 =' >>/var/lib/corten/netd/startup.toml; sync")?;
    let boot = Duration::from_secs(240);
    lab.vm.reboot(boot)?;
    lab.wait_for_netd(boot)?;
    eventually("frames cross", Duration::from_secs(30), || {
        cross(lab, At(1, None), At(2, None), Mac::BROADCAST)
    })?;
    let status = lab.vm.run("systemctl show -p StatusText --value netd.service")?;
    ensure!(status.contains("startup"), "netd's status says nothing of it: {status}");
    // Users are rendered once the rest has started, which takes its time.
    eventually("the user can log in", boot, || {
        let user = lab.vm.sh(&format!("userdbctl user {USER}"))?;
        ensure!(user.status == 0, "the user is gone: {}", user.text);
        Ok(())
    })?;
    let kept = lab.vm.run("cat /var/lib/corten/netd/startup.toml")?;
    ensure!(kept.contains("vlan 10 ="), "what somebody wrote is lost");
    // An operator mends it with an ordinary change.
    lab.apply_ok(&lab.document)?;
    let mended = lab.vm.run("cat /var/lib/corten/netd/startup.toml")?;
    ensure!(mended.trim() == lab.document.trim(), "the startup document is still not what was applied");
    Ok(String::new())
}
