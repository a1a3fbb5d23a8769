//! Frames that no honest host sends, and whoever hears them.

use std::net::Ipv6Addr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use netd::kernel::packet::PacketSocket;
use nix::net::if_::if_nametoindex;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, socket};

const SENDER: [u8; 6] = [2, 0, 0, 0, 9, 2];
const SENDER_ADDRESS: [u8; 4] = [10, 0, 10, 2];

/// Sends a frame by an interface of this namespace.
pub fn send(interface: &str, frame: &[u8]) {
    let mut socket = PacketSocket::open().expect("a packet socket");
    socket.find_interfaces().expect("the interfaces");
    let index = if_nametoindex(interface).expect("the interface");
    socket.send(index, frame).expect("sent");
}

/// A question for the hardware address of `target` (RFC 826), by whoever it says.
pub fn arp_request(mac: [u8; 6], sender: [u8; 4], target: [u8; 4]) -> Vec<u8> {
    let header = [&[0xff; 6][..], &SENDER, &[8, 6], &[0, 1, 8, 0, 6, 4, 0, 1]].concat();
    [&header[..], &mac, &sender, &[0; 6], &target].concat()
}

/// An IGMPv2 report (RFC 2236) of a group, with this time to live.
pub fn igmp_report(ttl: u8, group: [u8; 4]) -> Vec<u8> {
    igmp(ttl, group, [&[0x16, 0, 0, 0][..], &group].concat())
}

/// An IGMPv3 report (RFC 3376, section 4.2): its sender takes each group from everybody.
pub fn igmp3_report(groups: &[[u8; 4]]) -> Vec<u8> {
    let mut message = vec![0x22, 0, 0, 0, 0, 0, 0, groups.len() as u8];
    for group in groups {
        message.extend([4, 0, 0, 0]);
        message.extend(group);
    }
    igmp(1, [224, 0, 0, 22], message)
}

fn igmp(ttl: u8, to: [u8; 4], mut message: Vec<u8>) -> Vec<u8> {
    seal(&mut message, 2, 0);
    let length = (20 + message.len()) as u16;
    let mut packet = vec![0x45, 0];
    packet.extend(length.to_be_bytes());
    packet.extend([0, 0, 0, 0, ttl, 2, 0, 0]);
    packet.extend(SENDER_ADDRESS);
    packet.extend(to);
    seal(&mut packet, 10, 0);
    // To a hardware address of a group even if the other is of a host.
    let mac = [1, 0, 0x5e, to[1] & 0x7f, to[2], to[3]];
    [&mac[..], &SENDER, &[8, 0], &packet, &message].concat()
}

/// An MLDv1 report (RFC 2710) of a group, with this hop limit and source.
pub fn mld_report(hop_limit: u8, source: &str, group: &str) -> Vec<u8> {
    mld(hop_limit, source, group, [&[131, 0, 0, 0, 0, 0, 0, 0][..], &octets(group)].concat())
}

/// An MLDv2 report (RFC 3810, section 5.2): its sender takes each group from everybody.
pub fn mld2_report(groups: &[&str]) -> Vec<u8> {
    let mut message = vec![143, 0, 0, 0, 0, 0, 0, groups.len() as u8];
    for group in groups {
        message.extend([4, 0, 0, 0]);
        message.extend(octets(group));
    }
    mld(1, "fe80::2", "ff02::16", message)
}

fn octets(address: &str) -> [u8; 16] {
    address.parse::<Ipv6Addr>().expect("an address").octets()
}

fn mld(hop_limit: u8, source: &str, to: &str, mut message: Vec<u8>) -> Vec<u8> {
    let [source, to] = [source, to].map(octets);
    let pseudo = [&source[..], &to, &[0, 0, 0, message.len() as u8, 0, 0, 0, 58]].concat();
    seal(&mut message, 2, sum(&pseudo));
    // A router alert (RFC 2711) stands before it.
    let options = [58, 0, 5, 2, 0, 0, 1, 0];
    let length = (options.len() + message.len()) as u16;
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend(length.to_be_bytes());
    packet.extend([0, hop_limit]);
    let mac = [0x33, 0x33, to[12], to[13], to[14], to[15]];
    [&mac[..], &SENDER, &[0x86, 0xdd], &packet, &source, &to, &options, &message].concat()
}

fn sum(bytes: &[u8]) -> u32 {
    bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0))).sum()
}

/// Puts the Internet checksum (RFC 1071) at its place, over the message and what is added already.
fn seal(message: &mut [u8], place: usize, before: u32) {
    let sum = sum(message) + before;
    let folded = (sum & 0xffff) + (sum >> 16);
    let checksum = !((folded & 0xffff) + (folded >> 16)) as u16;
    message[place..place + 2].copy_from_slice(&checksum.to_be_bytes());
}

/// Hears all frames that come to a namespace from now on.
pub struct Ears(OwnedFd);

impl Ears {
    pub fn open() -> Ears {
        let flags = SockFlag::SOCK_NONBLOCK;
        Ears(
            socket(AddressFamily::Packet, SockType::Raw, flags, SockProtocol::EthAll)
                .expect("a packet socket"),
        )
    }

    /// What comes until a frame that is waited for, that one included.
    pub fn until(&self, patience: Duration, awaited: impl Fn(&[u8]) -> bool) -> Vec<Vec<u8>> {
        let (began, mut heard) = (Instant::now(), Vec::new());
        loop {
            let mut frame = vec![0; 2048];
            match recv(self.0.as_raw_fd(), &mut frame, MsgFlags::empty()) {
                Ok(length) => {
                    frame.truncate(length);
                    let is_last = awaited(&frame);
                    heard.push(frame);
                    if is_last {
                        return heard;
                    }
                }
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
            assert!(began.elapsed() < patience, "nothing of what was awaited among {heard:x?}");
        }
    }
}
