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
    let mut message = [&[0x16, 0, 0, 0][..], &group].concat();
    seal(&mut message, 2, 0);
    let length = (20 + message.len()) as u16;
    let mut packet = vec![0x45, 0];
    packet.extend(length.to_be_bytes());
    packet.extend([0, 0, 0, 0, ttl, 2, 0, 0]);
    packet.extend(SENDER_ADDRESS);
    packet.extend(group);
    seal(&mut packet, 10, 0);
    // To a hardware address of a group even if the other is of a host.
    let mac = [1, 0, 0x5e, group[1] & 0x7f, group[2], group[3]];
    [&mac[..], &SENDER, &[8, 0], &packet, &message].concat()
}

/// An MLDv1 report (RFC 2710) of a group, with this hop limit and source.
pub fn mld_report(hop_limit: u8, source: &str, group: &str) -> Vec<u8> {
    let [source, group]: [[u8; 16]; 2] =
        [source, group].map(|address| address.parse::<Ipv6Addr>().expect("an address").octets());
    let mut message = [&[131, 0, 0, 0, 0, 0, 0, 0][..], &group].concat();
    let pseudo = [&source[..], &group, &[0, 0, 0, message.len() as u8, 0, 0, 0, 58]].concat();
    seal(&mut message, 2, sum(&pseudo));
    // A router alert (RFC 2711) stands before it.
    let options = [58, 0, 5, 2, 0, 0, 1, 0];
    let length = (options.len() + message.len()) as u16;
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend(length.to_be_bytes());
    packet.extend([0, hop_limit]);
    let mac = [0x33, 0x33, group[12], group[13], group[14], group[15]];
    [&mac[..], &SENDER, &[0x86, 0xdd], &packet, &source, &group, &options, &message].concat()
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
