//! What hosts behind ports are told of addresses, and what they say to them.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use netd::announce::Announcer;
use netd::announce::schedule::Interface;
use netd::events::Hub;
use netd::kernel::arp::{self, Arp};
use netd::kernel::packet::PacketSocket;
use netd::kernel::unreported::Unreported;
use netd::plan::{Link, LinkKind, Network};
use netd::transaction::{Backend, Kernel, Reason, commit};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, socket};

use crate::common::isolated;
use crate::room::{BRIDGE, Host, Room};

const PATIENCE: Duration = Duration::from_secs(20);

/// A network with this address on swp1.
fn with_address(address: &str) -> Network {
    let addresses = vec![address.parse().unwrap()];
    let port = Link { up: true, addresses, ..Link::new(LinkKind::Hardware) };
    Network { links: [("swp1".to_owned(), port)].into(), ..Network::default() }
}

fn with_kernel<T>(room: &mut Room, body: impl FnOnce(&mut Kernel) -> T) -> T {
    let mut unreported = Unreported::default();
    body(&mut Kernel::new(&mut room.connection, &room.scope, BRIDGE, BTreeSet::new(), &mut unreported))
}

/// Waits until there is what `find` looks for.
fn wait_for<T>(what: &str, mut find: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = find() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "no {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn an_ipv4_address_of_another_host_is_refused_and_undone() {
    isolated("hosts::an_ipv4_address_of_another_host_is_refused_and_undone", || {
        let mut room = Room::new();
        let mut host = room.add_host("swp1");
        host.add_address("192.0.2.7/24");
        with_kernel(&mut room, |kernel| {
            let before = kernel.snapshot().unwrap();
            let error = commit(kernel, &with_address("192.0.2.7/24")).expect_err("the host has it");
            assert!(matches!(error.reason, Reason::Duplicate(_)), "{error}");
            assert!(error.to_string().contains("192.0.2.7/24"), "{error}");
            assert!(error.left.is_empty(), "{error}");
            assert_eq!(crate::differences(&before, &kernel.snapshot().unwrap()), Vec::<String>::new());
            commit(kernel, &with_address("192.0.2.8/24")).expect("nobody has it");
            // Nor is it asked for again.
            assert_eq!(commit(kernel, &with_address("192.0.2.8/24")).expect("again").steps, 0);
        });
        // A host that nobody hears is no reason to wait.
        host.set_up(false);
        with_kernel(&mut room, |kernel| {
            commit(kernel, &with_address("192.0.2.7/24")).expect("a link without a carrier");
        });
    });
}

#[test]
fn hosts_hear_of_an_address_and_are_heard_when_they_take_it() {
    isolated("hosts::hosts_hear_of_an_address_and_are_heard_when_they_take_it", || {
        let mut room = Room::new();
        let mut host = room.add_host("swp1");
        let index = room.index("swp1");
        let mac = [2, 0, 0, 0, 1, b'1'];
        let address = Ipv4Addr::new(192, 0, 2, 7);
        let mut ears = host.inside(|| PacketSocket::open().expect("a packet socket"));
        host.inside(|| ears.find_interfaces().expect("its interface"));
        let v6 = host.inside(|| {
            let flags = SockFlag::SOCK_NONBLOCK;
            socket(AddressFamily::Packet, SockType::Raw, flags, SockProtocol::EthIpv6)
                .expect("a packet socket")
        });
        let mut announcer = Announcer::new(Hub::open().expect("threads"));
        let addresses = ["192.0.2.7/24", "2001:db8::7/64"].map(|address| address.parse().unwrap());
        let interface =
            Interface { index, name: "swp1".to_owned(), mac, carriers: 1, addresses: addresses.to_vec() };
        announcer.update(vec![interface], &BTreeSet::new(), [mac].into());
        let hear = || wait_for("ARP packet", || ears.receive().expect("frames"));
        let eth0 = host.index();
        let probe = Arp { sender_mac: mac, sender: Ipv4Addr::UNSPECIFIED, target: address };
        assert_eq!(hear(), (eth0, probe));
        assert_eq!(hear(), (eth0, Arp { sender: address, ..probe }));
        // Unsolicited: to all nodes, of the address itself.
        wait_for("neighbour advertisement", || {
            let mut frame = [0; 200];
            let length = recv(std::os::fd::AsRawFd::as_raw_fd(&v6), &mut frame, MsgFlags::empty()).ok()?;
            let frame = &frame[..length];
            let IpAddr::V6(wanted) = addresses[1].addr() else { return None };
            let advertises = frame.get(54) == Some(&136) && frame.get(62..78) == Some(&wanted.octets());
            (advertises && frame[6..12] == mac).then_some(())
        });
        assert_eq!(announcer.conflicts(), []);
        ears.send(eth0, &arp::announcement(Host::MAC, address)).expect("the host takes it");
        let conflict = wait_for("conflict", || announcer.conflicts().into_iter().next());
        assert_eq!((conflict.interface.as_str(), conflict.mac.as_str()), ("swp1", "02:00:00:00:02:01"));
        assert!(conflict.defended);
        // It is told so: the announcement after that which was due anyway.
        let mut defences = 0;
        wait_for("defence", || {
            let (_, packet) = ears.receive().expect("frames")?;
            defences += usize::from(packet.sender == address && packet.sender_mac == mac);
            (defences == 2).then_some(())
        });
    });
}

#[test]
fn an_address_of_another_host_is_not_announced() {
    isolated("hosts::an_address_of_another_host_is_not_announced", || {
        let mut room = Room::new();
        let mut host = room.add_host("swp1");
        host.add_address("192.0.2.7/24");
        let index = room.index("swp1");
        let mac = [2, 0, 0, 0, 1, b'1'];
        let ears = host.inside(|| PacketSocket::open().expect("a packet socket"));
        let mut announcer = Announcer::new(Hub::open().expect("threads"));
        let addresses = vec!["192.0.2.7/24".parse().unwrap()];
        let interface = Interface { index, name: "swp1".to_owned(), mac, carriers: 1, addresses };
        announcer.update(vec![interface], &BTreeSet::new(), [mac].into());
        let conflict = wait_for("conflict", || announcer.conflicts().into_iter().next());
        assert!(!conflict.defended, "{conflict:?}");
        // Longer than until it would have been announced.
        std::thread::sleep(Duration::from_millis(500));
        while let Some((_, packet)) = ears.receive().expect("frames") {
            assert_ne!(packet.sender, Ipv4Addr::new(192, 0, 2, 7), "{packet:?}");
        }
    });
}
