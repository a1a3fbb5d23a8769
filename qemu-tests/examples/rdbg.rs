//! debug
use qemu_tests::frame::Mac;
use qemu_tests::host::*;
use qemu_tests::machine::{Asic, Channel, Machine, image};
use std::time::Duration;
fn main() -> anyhow::Result<()> {
    let doc = r#"version = 1
[system]
hostname = "asic1"
[ports."swp[1-2]"]
vlan.trunk = ["10"]
[ports.swp3]
addresses = ["10.0.3.1/24"]
[ports.swp4]
addresses = ["10.0.4.1/24"]
[[fdb]]
mac = "02:c0:27:e2:00:01"
vlan = 10
port = "swp1"
[[fdb]]
mac = "02:c0:27:e2:00:02"
vlan = 10
port = "swp2"
[[routes]]
prefix = "10.99.0.0/24"
via = ["10.0.4.2"]
"#;
    let vm = Machine::from_image(&image()?)
        .name("rdbg")
        .ports(4)
        .asic(Asic::Rocker)
        .config(doc, Channel::FwCfg)
        .test_shell()
        .log_folder(std::path::Path::new("/tmp/qt/logs"))
        .start()?;
    vm.wait_for_shell(Duration::from_secs(240))?;
    println!(
        "{}",
        vm.sh_within(
            "until corten show system >/dev/null 2>&1; do sleep 0.5; done",
            Duration::from_secs(200)
        )?
        .text
    );
    vm.sh("sleep 15")?;
    let g = Host::start(
        vm.wire(4)?,
        HostConfig::new("g", Mac::of_host(4))
            .address("10.0.4.2/24")
            .address("10.99.0.1/24")
            .gateway("10.0.4.1".parse::<std::net::IpAddr>()?),
    )?;
    let o = Host::start(
        vm.wire(3)?,
        HostConfig::new("o", Mac::of_host(3))
            .address("10.0.3.2/24")
            .gateway("10.0.3.1".parse::<std::net::IpAddr>()?),
    )?;
    println!("g->4.1 {:?}", g.ping_until_answered("10.0.4.1".parse()?, Duration::from_secs(20)));
    let (c3, c4) = (vm.wire(3)?.capture(), vm.wire(4)?.capture());
    println!("{}", vm.sh("corten show neighbours; corten show routes")?.text);
    println!("o->99.1 {:?}", o.ping("10.99.0.1".parse()?, 3, Duration::from_secs(2)));
    for (n, c) in [(3, c3), (4, c4)] {
        for f in c.drain() {
            let v = f.view().unwrap();
            println!(
                "out of swp{n}: {} > {} {:?} {:04x} {:02x?}",
                v.source,
                v.destination,
                v.vlan_id,
                v.ethertype,
                &v.payload[..v.payload.len().min(36)]
            );
        }
    }
    println!("{}", vm.sh("corten show routes; corten show neighbours; grep . /sys/class/net/swp*/statistics/rx_packets; sysctl net.ipv4.ip_forward net.ipv4.conf.swp3.rp_filter; dmesg | grep -i rocker | tail -20; cat /proc/net/arp; ip -d route; ip -s neigh; grep . /sys/class/net/swp*/carrier")?.text);
    Ok(())
}
