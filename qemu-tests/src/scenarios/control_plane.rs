//! What hosts on front-panel ports reach on the switch itself.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use qemu_tests::host::{Connection, Host};

use crate::lab::{Lab, Topology, eventually, fresh_payload};
use crate::runner::{Run, Scenario};

pub const SCENARIOS: [Scenario; 5] = [
    Scenario::new(
        "a front-panel host resolves and pings every address of the switch",
        Topology::Switch,
        arp_nd_and_icmp,
    ),
    Scenario::new(
        "a front-panel host reaches neither sshd nor any other socket of the switch",
        Topology::Switch,
        no_socket_is_reached,
    )
    .takes(14),
    Scenario::new(
        "a service is reachable while it is allowed, and nothing else is",
        Topology::Switch,
        an_allowed_service,
    ),
    Scenario::new("a port in a VRF of its own reaches no sshd either", Topology::Switch, a_vrf_is_guarded),
    Scenario::new(
        "the address of the management port cannot be reached from the front panel",
        Topology::Demo,
        management_is_guarded,
    )
    .takes(56),
];

/// Addresses of the switch in the lab.
const ADDRESSES: [&str; 8] = [
    "10.0.10.1",
    "10.0.20.1",
    "10.0.7.1",
    "198.51.100.1",
    "2001:db8:10::1",
    "2001:db8:20::1",
    "2001:db8:7::1",
    "2001:db8:8::1",
];
/// Services probed whether or not the guest says that somebody listens.
const WELL_KNOWN: [u16; 13] = [22, 23, 25, 53, 80, 111, 123, 161, 179, 443, 830, 5353, 5355];
const TCP_PORT: u16 = 7777;
const UDP_PORT: u16 = 7778;
/// How long an attempt to connect may stay without an answer.
const SILENCE: Duration = Duration::from_secs(2);
/// Datagrams sent to each port.
const DATAGRAMS: usize = 3;

fn arp_nd_and_icmp(lab: &Lab, _: &Run) -> Result<String> {
    let host = lab.member(1, 10)?;
    for address in ADDRESSES {
        host.ping_all_answered(address.parse()?, 3)?;
    }
    Ok(String::new())
}

/// A socket of the guest that others could reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Socket {
    Tcp(u16),
    Udp(u16),
}

/// Sockets that accept from others than the guest itself, from /proc/net.
fn sockets(lab: &Lab) -> Result<BTreeSet<Socket>> {
    let mut sockets = BTreeSet::new();
    for (table, listening) in [("tcp", "0A"), ("tcp6", "0A"), ("udp", "07"), ("udp6", "07")] {
        for line in lab.vm.run(&format!("cat /proc/net/{table}"))?.lines().skip(1) {
            let mut words = line.split_whitespace().skip(1);
            let (local, state) = (words.next().unwrap_or_default(), words.nth(1).unwrap_or_default());
            let (address, port) =
                local.split_once(':').with_context(|| format!("/proc/net/{table}: {line}"))?;
            let port = u16::from_str_radix(port, 16).with_context(|| format!("/proc/net/{table}: {line}"))?;
            let loopback = (address.len() == 8 && address.ends_with("7F"))
                || address == "00000000000000000000000001000000";
            if state == listening && !loopback {
                sockets.insert(if table.starts_with("tcp") { Socket::Tcp(port) } else { Socket::Udp(port) });
            }
        }
    }
    Ok(sockets)
}

/// Listens in the guest on a TCP and a UDP port, so that there is something to reach.
struct Listeners<'a>(&'a Lab);

impl<'a> Listeners<'a> {
    fn start(lab: &'a Lab) -> Result<Self> {
        let listeners = Listeners(lab);
        listeners.stop()?;
        lab.vm.run(&format!(
            "systemd-run --quiet --collect --unit=corten-test-tcp busybox sh -c \
             'while :; do busybox nc -l -p {TCP_PORT} </dev/null >/dev/null; done'"
        ))?;
        lab.vm.run(&format!(
            "systemd-run --quiet --collect --unit=corten-test-udp --socket-property=ListenDatagram={UDP_PORT} \
             -p StandardInput=socket -p StandardOutput=null busybox sh -c 'cat >>/run/corten-test.udp'"
        ))?;
        eventually("the listeners of the test run", Duration::from_secs(20), || {
            let sockets = sockets(lab)?;
            for socket in [Socket::Tcp(TCP_PORT), Socket::Udp(UDP_PORT)] {
                ensure!(sockets.contains(&socket), "{socket:?} is not among {sockets:?}");
            }
            Ok(())
        })?;
        Ok(listeners)
    }

    fn stop(&self) -> Result<()> {
        self.0.vm.sh(
            "systemctl stop corten-test-tcp.service corten-test-udp.socket corten-test-udp.service 2>/dev/null; rm -f /run/corten-test.udp; : >/run/corten-test.udp",
        )?;
        Ok(())
    }

    /// Whether a datagram with this payload arrived.
    fn received(&self, payload: &str) -> Result<bool> {
        Ok(self.0.vm.sh(&format!("grep -qF '{payload}' /run/corten-test.udp"))?.status == 0)
    }
}

impl Drop for Listeners<'_> {
    fn drop(&mut self) {
        // A failure here shows as a left-over unit in the next start, which stops it first.
        let _ = self.stop();
    }
}

/// Rules of the test's own around netd's: which sockets somebody in VLAN 10 sent something to, before netd's rules
/// and behind them.
const WITNESS: &str = "\
table inet corten-test {
    set arrived4 { typeof ip daddr . meta l4proto . th dport; size 65535; flags dynamic; }
    set arrived6 { typeof ip6 daddr . meta l4proto . th dport; size 65535; flags dynamic; }
    set passed4 { typeof ip daddr . meta l4proto . th dport; size 65535; flags dynamic; }
    set passed6 { typeof ip6 daddr . meta l4proto . th dport; size 65535; flags dynamic; }
    chain arrives {
        type filter hook input priority filter - 10;
        iifname != \"vlan10\" accept
        meta l4proto { tcp, udp } add @arrived4 { ip daddr . meta l4proto . th dport }
        meta l4proto { tcp, udp } add @arrived6 { ip6 daddr . meta l4proto . th dport }
    }
    chain passes {
        type filter hook input priority filter + 10;
        iifname != \"vlan10\" accept
        meta l4proto { tcp, udp } add @passed4 { ip daddr . meta l4proto . th dport }
        meta l4proto { tcp, udp } add @passed6 { ip6 daddr . meta l4proto . th dport }
    }
}";

/// A socket as somebody addressed it.
type Target = (IpAddr, Socket);

struct Witness<'a>(&'a Lab);

impl<'a> Witness<'a> {
    fn start(lab: &'a Lab) -> Result<Self> {
        let witness = Witness(lab);
        witness.stop()?;
        lab.vm.run(&format!("nft -f - <<'END'\n{WITNESS}\nEND"))?;
        Ok(witness)
    }

    fn stop(&self) -> Result<()> {
        self.0.vm.sh("nft delete table inet corten-test 2>/dev/null").map(drop)
    }

    /// What was sent to the switch.
    fn arrived(&self) -> Result<BTreeSet<Target>> {
        Ok(&self.set("arrived4")? | &self.set("arrived6")?)
    }

    /// What of that netd's rules let pass.
    fn passed(&self) -> Result<BTreeSet<Target>> {
        Ok(&self.set("passed4")? | &self.set("passed6")?)
    }

    fn set(&self, name: &str) -> Result<BTreeSet<Target>> {
        let text = self.0.vm.run(&format!("nft -n list set inet corten-test {name}"))?;
        // A set that is empty has no list of elements.
        let Some((_, elements)) = text.split_once("elements = {") else { return Ok(BTreeSet::new()) };
        let (elements, _) = elements.split_once('}').with_context(|| format!("no end: {text}"))?;
        let target = |element: &str| -> Option<Target> {
            let [address, protocol, port] = element.trim().split(" . ").collect::<Vec<_>>()[..] else {
                return None;
            };
            let socket = match protocol {
                "6" | "tcp" => Socket::Tcp,
                "17" | "udp" => Socket::Udp,
                _ => return None,
            };
            Some((address.parse().ok()?, socket(port.parse().ok()?)))
        };
        let parse = |element: &str| target(element).with_context(|| format!("no socket: {element:?}"));
        elements.split(',').map(parse).collect()
    }
}

impl Drop for Witness<'_> {
    fn drop(&mut self) {
        // Left over, it is removed by the next start.
        let _ = self.stop();
    }
}

/// Tries to connect to every socket at every address; answers those that said anything, be it a refusal.
fn answering(
    host: &Host,
    addresses: &[IpAddr],
    ports: &BTreeSet<u16>,
) -> Result<Vec<(SocketAddr, Connection)>> {
    let targets: Vec<SocketAddr> =
        addresses.iter().flat_map(|&ip| ports.iter().map(move |&port| SocketAddr::new(ip, port))).collect();
    std::thread::scope(|scope| {
        let attempts: Vec<_> =
            targets.iter().map(|&to| (to, scope.spawn(move || host.connect(to, SILENCE)))).collect();
        let mut answering = Vec::new();
        for (to, attempt) in attempts {
            match attempt.join() {
                Ok(outcome) => {
                    let outcome = outcome?;
                    if outcome != Connection::Silent {
                        answering.push((to, outcome));
                    }
                }
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok(answering)
    })
}

fn addresses() -> Result<Vec<IpAddr>> {
    ADDRESSES.iter().map(|address| address.parse().context("an address of the lab")).collect()
}

fn no_socket_is_reached(lab: &Lab, _: &Run) -> Result<String> {
    let listeners = Listeners::start(lab)?;
    let sockets = eventually("sshd listens", Duration::from_secs(60), || {
        let sockets = sockets(lab)?;
        ensure!(
            sockets.contains(&Socket::Tcp(22)),
            "sshd does not listen, so this shows nothing: {sockets:?}"
        );
        Ok(sockets)
    })?;
    let host = lab.member(1, 10)?;
    let addresses = addresses()?;
    for &address in &addresses {
        host.ping_until_answered(address, Duration::from_secs(10))?;
    }
    let witness = Witness::start(lab)?;
    let ports = |of: fn(&Socket) -> Option<u16>| -> BTreeSet<u16> {
        sockets.iter().filter_map(of).chain(WELL_KNOWN).collect()
    };
    let tcp = ports(|socket| if let Socket::Tcp(port) = socket { Some(*port) } else { None });
    let udp = ports(|socket| if let Socket::Udp(port) = socket { Some(*port) } else { None });
    let open = answering(&host, &addresses, &tcp)?;
    ensure!(open.is_empty(), "reached from swp1: {open:?}");

    let payload = fresh_payload("udp");
    for &address in &addresses {
        for &port in &udp {
            for _ in 0..DATAGRAMS {
                host.send_udp(SocketAddr::new(address, port), payload.as_bytes())?;
            }
        }
    }
    // After the datagrams, so that they have been dealt with when it is answered.
    host.ping_all_answered(addresses[0], 3)?;
    let sockets = || tcp.iter().copied().map(Socket::Tcp).chain(udp.iter().copied().map(Socket::Udp));
    let expected: BTreeSet<Target> =
        addresses.iter().flat_map(|&address| sockets().map(move |socket| (address, socket))).collect();
    let arrived = witness.arrived()?;
    ensure!(arrived == expected, "these never came to the switch: {:?}", &expected - &arrived);
    let passed = witness.passed()?;
    ensure!(passed.is_empty(), "netd's rules let pass from swp1: {passed:?}");
    ensure!(!listeners.received(&payload)?, "a datagram reached UDP port {UDP_PORT}");
    Ok(format!("{} TCP ports and {} UDP ports at {} addresses", tcp.len(), udp.len(), addresses.len()))
}

fn an_allowed_service(lab: &Lab, _: &Run) -> Result<String> {
    let listeners = Listeners::start(lab)?;
    let host = lab.member(1, 10)?;
    let to: IpAddr = ADDRESSES[0].parse()?;
    host.ping_until_answered(to, Duration::from_secs(10))?;
    let allow = format!(
        "\n[control-plane]\nallow = [\"icmp\", \"arp\", \"nd\", \"tcp/{TCP_PORT}\", \"udp/{UDP_PORT}\"]\n"
    );
    let witness = Witness::start(lab)?;
    lab.with_document(&(lab.document.clone() + &allow), || reached(&host, to, &listeners))?;
    // The witness of what passes sees it, and that it is nothing else.
    let allowed = BTreeSet::from([(to, Socket::Tcp(TCP_PORT)), (to, Socket::Udp(UDP_PORT))]);
    let passed = witness.passed()?;
    ensure!(passed == allowed, "netd's rules let pass {passed:?} instead of {allowed:?}");
    ensure!(
        answering(&host, &[to], &BTreeSet::from([TCP_PORT]))?.is_empty(),
        "still reached when no longer allowed"
    );
    Ok(String::new())
}

fn reached(host: &Host, to: IpAddr, listeners: &Listeners<'_>) -> Result<()> {
    eventually("the allowed TCP port accepts", Duration::from_secs(20), || {
        match host.connect(SocketAddr::new(to, TCP_PORT), SILENCE)? {
            Connection::Open => Ok(()),
            other => bail!("{other:?}"),
        }
    })?;
    eventually("a datagram reaches the allowed UDP port", Duration::from_secs(30), || {
        let payload = fresh_payload("allowed");
        host.send_udp(SocketAddr::new(to, UDP_PORT), payload.as_bytes())?;
        eventually("arrival", Duration::from_secs(3), || {
            ensure!(listeners.received(&payload)?, "not received");
            Ok(())
        })
    })?;
    let others = BTreeSet::from([22, TCP_PORT + 10]);
    let open = answering(host, &[to], &others)?;
    ensure!(open.is_empty(), "reached though not allowed: {open:?}");
    Ok(())
}

fn a_vrf_is_guarded(lab: &Lab, _: &Run) -> Result<String> {
    let routed = "[ports.swp7]\ndescription = \"routed\"\n";
    ensure!(lab.document.contains(routed), "the lab has no routed swp7");
    let document = lab.document.replace(routed, &format!("{routed}vrf = \"blue\"\n"));
    // The route by both routed ports would cross VRFs.
    let (document, _) = document.split_once("[[routes]]\nprefix = \"10.98").context("no route by swp7")?;
    lab.with_document(&format!("{document}\n[vrfs.blue]\ntable = 1001\n"), || no_sshd(lab))?;
    // Until the port is up again in its place, for whoever looks next.
    lab.member(7, 7)?.ping_until_answered("10.0.7.1".parse()?, Duration::from_secs(20))?;
    eventually("swp7 is as before", Duration::from_secs(20), || {
        let port = lab.port("swp7")?;
        let addresses = port["addresses"].as_array().map_or(0, Vec::len);
        ensure!(port["vrf"] == "" && addresses == 3, "{port}");
        Ok(())
    })?;
    Ok(String::new())
}

fn no_sshd(lab: &Lab) -> Result<()> {
    let host = lab.member(7, 7)?;
    let to: IpAddr = "10.0.7.1".parse()?;
    host.ping_until_answered(to, Duration::from_secs(20))?;
    let open = answering(&host, &[to, "2001:db8:7::1".parse()?], &BTreeSet::from([22]))?;
    ensure!(open.is_empty(), "reached from a VRF: {open:?}");
    Ok(())
}

fn management_is_guarded(lab: &Lab, _: &Run) -> Result<String> {
    eventually("sshd listens", Duration::from_secs(60), || {
        ensure!(sockets(lab)?.contains(&Socket::Tcp(22)), "it does not");
        Ok(())
    })?;
    let shown = lab.vm.run("ip -4 -o addr show mgmt0")?;
    let address = shown.split_whitespace().skip_while(|word| *word != "inet").nth(1);
    let address = address.and_then(|word| word.split('/').next()).context("mgmt0 has no address")?;
    let host = lab.member(1, 10)?;
    host.ping_until_answered("10.0.10.1".parse()?, Duration::from_secs(20))?;
    let open = answering(&host, &[address.parse()?], &BTreeSet::from([22]))?;
    ensure!(open.is_empty(), "reached from swp1: {open:?}");
    Ok(address.to_owned())
}
