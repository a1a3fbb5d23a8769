//! What is sent when, with a clock that the tests move.

use super::*;

const MAC: Mac = [2, 0, 0, 0, 0, 1];
const OTHER: Mac = [2, 0, 0, 0, 0, 9];
const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

fn interface(addresses: &[&str]) -> Interface {
    let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
    Interface { index: 7, name: "vlan10".to_owned(), mac: MAC, carriers: 1, addresses }
}

/// A schedule whose time a test moves.
struct Clock {
    schedule: Schedule,
    now: Instant,
}

impl Clock {
    fn with(interface: Interface) -> Clock {
        let mut clock = Clock { schedule: Schedule::default(), now: Instant::now() };
        clock.set(interface);
        clock
    }

    fn set(&mut self, interface: Interface) {
        self.schedule.update(vec![interface], &BTreeSet::new(), [MAC].into(), self.now);
    }

    /// Messages that are sent within a time, each with when in milliseconds.
    fn pass(&mut self, milliseconds: u64) -> Vec<(u64, Message)> {
        let (began, until) = (self.now, self.now + Duration::from_millis(milliseconds));
        let mut sent = Vec::new();
        loop {
            let (frames, next, _) = self.schedule.due(self.now);
            let at = (self.now - began).as_millis() as u64;
            sent.extend(frames.into_iter().map(|frame| (at, frame.message)));
            match next.filter(|next| *next < until) {
                Some(next) => self.now = next.max(self.now),
                None => {
                    self.now = until;
                    return sent;
                }
            }
        }
    }

    fn hear(&mut self, sender: Ipv4Addr, target: Ipv4Addr) -> Vec<News> {
        self.schedule.hear(7, &Arp { sender_mac: OTHER, sender, target }, self.now)
    }
}

#[test]
fn an_address_is_asked_for_and_announced_twice() {
    let mut clock = Clock::with(interface(&["192.0.2.1/24", "2001:db8::1/64"]));
    let six = Message::Advertisement("2001:db8::1".parse().unwrap());
    let expected = [
        (0, Message::Probe(ADDRESS)),
        (0, six),
        (200, Message::Announcement(ADDRESS)),
        (2000, six),
        (2200, Message::Announcement(ADDRESS)),
    ];
    assert_eq!(clock.pass(60_000), expected);
    clock.set(interface(&["192.0.2.1/24", "2001:db8::1/64"]));
    assert_eq!(clock.pass(60_000), []);
}

#[test]
fn a_new_hardware_address_or_carrier_is_announced() {
    let mut clock = Clock::with(interface(&["192.0.2.1/24"]));
    clock.pass(60_000);
    for next in [
        Interface { mac: [2, 0, 0, 0, 0, 2], ..interface(&["192.0.2.1/24"]) },
        Interface { carriers: 2, ..interface(&["192.0.2.1/24"]) },
        interface(&["192.0.2.1/24"]),
    ] {
        clock.set(next);
        assert_eq!(clock.pass(60_000).len(), 3);
    }
    // A port of its VLAN forwards.
    let interfaces = vec![interface(&["192.0.2.1/24"])];
    clock.schedule.update(interfaces, &[7].into(), [MAC].into(), clock.now);
    assert_eq!(clock.pass(60_000).len(), 3);
}

#[test]
fn a_link_that_flaps_is_announced_once_a_second() {
    let mut clock = Clock::with(interface(&["2001:db8::1/64"]));
    let mut sent = 0;
    for carriers in 2..102 {
        clock.set(Interface { carriers, ..interface(&["2001:db8::1/64"]) });
        sent += clock.pass(100).len();
    }
    assert!((9..=11).contains(&sent), "{sent} in 10 s");
}

#[test]
fn frames_of_many_addresses_keep_a_rate() {
    let addresses: Vec<String> = (0..4000).map(|n| format!("2001:db8::{n:x}/64")).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let mut clock = Clock::with(interface(&addresses));
    let sent = clock.pass(1000).len();
    assert!((900..=1020).contains(&sent), "{sent} in a second");
    assert_eq!(sent + clock.pass(60_000).len(), 8000);
}

#[test]
fn an_address_of_another_host_is_reported_and_not_announced_until_it_is_free() {
    let mut clock = Clock::with(interface(&["192.0.2.1/24"]));
    assert_eq!(clock.pass(100), [(0, Message::Probe(ADDRESS))]);
    let news = clock.hear(ADDRESS, Ipv4Addr::new(192, 0, 2, 9));
    let conflict = Conflict {
        interface: "vlan10".to_owned(),
        address: "192.0.2.1/24".parse().unwrap(),
        mac: "02:00:00:00:00:09".to_owned(),
        defended: false,
    };
    assert_eq!(news, [News { conflict: conflict.clone(), begins: true }]);
    assert_eq!(clock.schedule.conflicts(), [conflict]);
    // It is asked for, and the host answers.
    for _ in 0..10 {
        let sent = clock.pass(10_000);
        assert!(sent.iter().all(|(_, message)| *message == Message::Probe(ADDRESS)), "{sent:?}");
        assert_eq!(clock.hear(ADDRESS, Ipv4Addr::UNSPECIFIED), []);
    }
    // Until it does not any more.
    let sent = clock.pass(60_000);
    let announced = sent.iter().filter(|(_, message)| *message == Message::Announcement(ADDRESS));
    assert_eq!(announced.count(), 2, "{sent:?}");
    assert_eq!(clock.schedule.conflicts(), []);
}

#[test]
fn an_address_that_another_host_takes_is_defended_every_ten_seconds_and_reported_once() {
    let mut clock = Clock::with(interface(&["192.0.2.1/24"]));
    clock.pass(60_000);
    // Whoever asks first is answered by the kernel.
    assert_eq!(clock.hear(Ipv4Addr::UNSPECIFIED, ADDRESS), []);
    let news = clock.hear(ADDRESS, ADDRESS);
    assert!(news.len() == 1 && news[0].conflict.defended, "{news:?}");
    let mut sent = Vec::new();
    for _ in 0..30 {
        assert_eq!(clock.hear(ADDRESS, ADDRESS), []);
        sent.extend(clock.pass(1000));
    }
    let defended = sent.iter().filter(|(_, message)| *message == Message::Announcement(ADDRESS)).count();
    assert_eq!(defended, 3, "{sent:?}");
    clock.pass(60_000);
    assert_eq!(clock.schedule.conflicts(), []);
}

#[test]
fn the_switch_itself_and_other_addresses_are_no_conflict() {
    let mut clock = Clock::with(interface(&["192.0.2.1/24"]));
    let own = Arp { sender_mac: MAC, sender: ADDRESS, target: ADDRESS };
    assert_eq!(clock.schedule.hear(7, &own, clock.now), []);
    let elsewhere = Arp { sender_mac: OTHER, ..own };
    assert_eq!(clock.schedule.hear(8, &elsewhere, clock.now), []);
    assert_eq!(clock.hear(Ipv4Addr::new(192, 0, 2, 9), ADDRESS), []);
    assert_eq!(clock.schedule.conflicts(), []);
}
