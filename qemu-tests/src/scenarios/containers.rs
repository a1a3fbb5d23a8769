//! Containers as switch ports.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use qemu_tests::tools;

use crate::lab::{Lab, Topology, eventually};
use crate::runner::{Run, Scenario};

pub const SCENARIOS: [Scenario; 2] = [
    Scenario::new(
        "a container with a port in VLAN 10 answers a host on swp1, and no more once it is stopped",
        Topology::Containers,
        a_container_is_a_port,
    )
    .takes(35),
    Scenario::new("rounds of containers leave nothing behind", Topology::Containers, nothing_is_left)
        .soaks("containers")
        .takes(49),
];

/// The image that machines for containers have.
pub const IMAGE: &str = "corten.test/box:1";
const ADDRESS: &str = "10.0.10.80";
/// Rounds of a full run, and of a sample.
const ROUNDS: u32 = 50;
const SAMPLE_ROUNDS: u32 = 3;
const CONTAINER_TIMEOUT: Duration = Duration::from_secs(120);

/// Builds an OCI image around the guest's static busybox and imports it, once.
const IMPORT: &str = r#"
set -e
ctr images ls -q | grep -qx corten.test/box:1 && exit 0
work=/run/corten-test.image
rm -rf $work; mkdir -p $work/root/bin $work/root/proc $work/root/sys $work/root/dev $work/root/etc $work/blobs/sha256
cd $work
cp /usr/bin/busybox root/bin/busybox
for name in sh sleep cat ip ping; do ln -s busybox root/bin/$name; done
digest() { sha256sum "$1" | cut -d' ' -f1; }
size() { stat -c %s "$1"; }
keep() { mv "$1" blobs/sha256/$(digest "$1"); }
busybox tar -C root -cf layer .
layer=$(digest layer); layer_size=$(size layer); keep layer
printf '{"architecture":"amd64","os":"linux","config":{"Cmd":["/bin/sleep","100000"]},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' $layer >config
config=$(digest config); config_size=$(size config); keep config
printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:%s","size":%s},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"sha256:%s","size":%s}]}' $config $config_size $layer $layer_size >manifest
manifest=$(digest manifest); manifest_size=$(size manifest); keep manifest
printf '{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:%s","size":%s,"annotations":{"io.containerd.image.name":"corten.test/box:1"}}]}' $manifest $manifest_size >index.json
printf '{"imageLayoutVersion":"1.0.0"}' >oci-layout
busybox tar -cf image.tar oci-layout index.json blobs
ctr images import image.tar
cd /; rm -rf $work
ctr images ls -q | grep -qx corten.test/box:1
"#;

fn run_command(name: &str) -> String {
    format!(
        "ctr run -d --runtime io.containerd.corten.v1 \
         --annotation org.corten.interface.eth0.vlan=10 --annotation org.corten.interface.eth0.address={ADDRESS}/24 \
         {IMAGE} {name}"
    )
}

fn stop_command(name: &str) -> String {
    format!(
        "ctr tasks kill -s KILL {name}; \
         until ctr tasks ls | grep -E '^{name} ' | grep -q STOPPED; do sleep 0.1; done; \
         ctr tasks delete {name} && ctr containers delete {name}"
    )
}

/// A script with the test's own `ctr`: the image may have none.
fn with_ctr(script: &str) -> String {
    format!("{}{script}", tools::USE)
}

/// Runs such a script.
fn run_ctr(lab: &Lab, script: &str) -> Result<String> {
    lab.needs_tool("ctr")?;
    lab.vm.run_within(&with_ctr(script), CONTAINER_TIMEOUT)
}

/// What a machine for containers has beyond its boot.
pub fn prepare(lab: &Lab) -> Result<()> {
    lab.vm.run("systemctl start containerd.service")?;
    run_ctr(lab, IMPORT).map(drop)
}

/// Removes what a failed round left, so that the next behaviour starts clean.
fn clean_up(lab: &Lab, name: &str) -> Result<()> {
    let command = format!("ctr tasks rm -f {name}; ctr containers rm {name}; true");
    run_ctr(lab, &command).map(drop)
}

/// The ports of workloads.
fn attachments(lab: &Lab) -> Result<Vec<serde_json::Value>> {
    Ok(lab.show("ports")?.into_iter().filter(|port| port["kind"] == "attachment").collect())
}

fn a_container_is_a_port(lab: &Lab, _: &Run) -> Result<String> {
    let host = lab.member(1, 10)?;
    let outcome = its_life(lab, &host);
    clean_up(lab, "box1")?;
    outcome
}

fn its_life(lab: &Lab, host: &qemu_tests::host::Host) -> Result<String> {
    let address: IpAddr = ADDRESS.parse()?;
    ensure!(
        host.ping(address, 2, Duration::from_secs(1))?.received == 0,
        "{ADDRESS} answers before the container runs"
    );
    run_ctr(lab, &run_command("box1"))?;
    host.ping_all_answered(address, 5)?;

    let ports = attachments(lab)?;
    ensure!(ports.len() == 1, "{} ports of workloads instead of one: {ports:?}", ports.len());
    let port = &ports[0];
    ensure!(
        port["untagged_vlan"] == 10
            && port["oper_state"] == "up"
            && port["attachment"] == "default/box1/eth0",
        "the container's port is shown as {port}"
    );
    let inside = run_ctr(lab, "ctr tasks exec --exec-id look box1 /bin/ip -4 addr show eth0")?;
    ensure!(inside.contains(&format!("{ADDRESS}/24")), "inside the container eth0 has {inside}");

    reaches_no_socket(lab)?;

    run_ctr(lab, &stop_command("box1"))?;
    eventually("the port is gone", Duration::from_secs(20), || {
        let left = attachments(lab)?;
        ensure!(left.is_empty(), "{left:?}");
        Ok(())
    })?;
    let after = host.ping(address, 3, Duration::from_secs(1))?.received;
    ensure!(after == 0, "the container answered {after} of 3 pings after its end");
    Ok(String::new())
}

/// The container pings the switch in its VLAN, and yet gets into none of its services.
fn reaches_no_socket(lab: &Lab) -> Result<()> {
    let exec = |id: &str, command: &str| {
        let command = format!("ctr tasks exec --exec-id {id} box1 /bin/busybox {command}");
        lab.vm.sh_within(&with_ctr(&command), CONTAINER_TIMEOUT)
    };
    let ping = exec("ping", "ping -c 2 -W 2 10.0.10.1")?;
    ensure!(ping.status == 0, "the container does not reach the switch at all: {}", ping.text);
    let listens = lab.vm.sh("busybox nc -w 2 127.0.0.1 22 </dev/null")?;
    ensure!(
        listens.text.contains("SSH-2.0"),
        "sshd does not answer, so this shows nothing: {}",
        listens.text
    );
    let sshd = exec("sshd", "nc -w 2 10.0.10.1 22")?;
    ensure!(sshd.status != 0 && !sshd.text.contains("SSH"), "the container reached sshd: {}", sshd.text);
    Ok(())
}

/// What a round could leave behind, a line each, sorted. Of processes, the test's own shell is left out (a
/// container's busybox stands at another path), the serial console's prompt and udevd's workers, which come and
/// go by themselves, and netd's count of its starts, which goes once it has run for a while.
const TRACES: &str = r#"
for link in /sys/class/net/*; do echo "link ${link##*/}"; done
for process in /proc/[0-9]*; do readlink $process/ns/net; done 2>/dev/null | sort -u | wc -l | sed 's/^/network namespaces /'
ls /run/netns /var/run/netns 2>/dev/null | sort -u | sed 's/^/named namespace /'
cut -d' ' -f5 /proc/self/mountinfo | sed 's/^/mount /'
find /sys/fs/cgroup -type d | sed 's/^/cgroup /'
for process in /proc/[0-9]*; do readlink $process/exe; done 2>/dev/null | grep -vx -e /usr/bin/busybox -e /usr/bin/login -e /usr/sbin/agetty -e /usr/bin/udevadm | sed 's/^/process /'
ctr snapshots ls | tail -n +2 | awk '{print "snapshot " $1}'
ctr containers ls -q | sed 's/^/container /'
ctr leases ls -q | sed 's/^/lease /'
find /run/corten /run/containerd /var/lib/corten ! -name starts.json | sed 's/^/file /'
netd=$(systemctl show -p MainPID --value netd.service)
for fd in /proc/$netd/fd/*; do readlink $fd; done | sed -E 's/\[[0-9]+\]//; s/^/descriptor of netd /'
"#;

/// What a round could leave behind.
pub fn traces(lab: &Lab) -> Result<Vec<String>> {
    let text = run_ctr(lab, TRACES)?;
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    Ok(lines)
}

/// Lines of the one that the other lacks, counted.
pub fn differences(before: &[String], after: &[String]) -> Vec<String> {
    let count = |lines: &[String], line: &String| lines.iter().filter(|other| *other == line).count();
    let mut all: Vec<&String> = before.iter().chain(after).collect();
    all.sort();
    all.dedup();
    let changed = all.into_iter().filter(|line| count(before, line) != count(after, line));
    changed
        .map(|line| format!("{line}: {} before, {} after", count(before, line), count(after, line)))
        .collect()
}

fn nothing_is_left(lab: &Lab, run: &Run) -> Result<String> {
    let round = format!("{} && {}", run_command("round"), stop_command("round"));
    // The first round warms up what containerd keeps for good.
    run_ctr(lab, &round)?;
    let before = traces(lab)?;
    ensure!(
        before.iter().any(|line| line.starts_with("descriptor of netd ")),
        "netd's descriptors cannot be seen"
    );
    let rounds = run.rounds("containers", SAMPLE_ROUNDS, ROUNDS, |_, _| run_ctr(lab, &round).map(drop));
    let rounds = match rounds {
        Ok(rounds) => rounds,
        Err(error) => {
            clean_up(lab, "round")?;
            return Err(error);
        }
    };
    eventually("all is as before", Duration::from_secs(60), || {
        let left = differences(&before, &traces(lab)?);
        if left.is_empty() { Ok(()) } else { bail!("{}", left.join("\n")) }
    })?;
    Ok(format!("{rounds} rounds, {} traces compared", before.len()))
}
