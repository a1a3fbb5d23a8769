//! A packet socket (packet(7)): frames that the kernel would not send by itself, and the ARP packets of other hosts.

use std::collections::BTreeMap;
use std::io;
use std::num::NonZeroU32;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{LinkAddr, MsgFlags, recvfrom, sendto, setsockopt, sockopt};
use rustix::net::{AddressFamily, Protocol, SocketFlags, SocketType, socket_with};

use super::arp::{self, Arp};

/// Room for bursts of answers; more are lost.
const RECEIVE_BUFFER_BYTES: usize = 1024 * 1024;
/// An ARP packet is far shorter.
const FRAME_BYTES: usize = 256;

/// A socket that sends frames by any interface of its namespace and hears ARP packets that come in by those that
/// have addresses: what a bridge forwards is not among them.
pub struct PacketSocket {
    socket: OwnedFd,
    /// The link-layer address of each interface, by its index.
    outgoing: BTreeMap<u32, LinkAddr>,
}

impl PacketSocket {
    /// Opens one. Takes `CAP_NET_RAW`.
    pub fn open() -> io::Result<PacketSocket> {
        let protocol = NonZeroU32::new(arp::ETHER_TYPE.to_be().into()).map(Protocol::from_raw);
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::PACKET, SocketType::RAW, flags, protocol)?;
        let size = RECEIVE_BUFFER_BYTES;
        if setsockopt(&socket.as_fd(), sockopt::RcvBufForce, &size).is_err() {
            setsockopt(&socket.as_fd(), sockopt::RcvBuf, &size)?;
        }
        Ok(PacketSocket { socket, outgoing: BTreeMap::new() })
    }

    /// Looks up which interfaces there are. Frames leave by these until the next call.
    pub fn find_interfaces(&mut self) -> io::Result<()> {
        let link = |address: nix::ifaddrs::InterfaceAddress| address.address?.as_link_addr().copied();
        let links = getifaddrs()?.filter_map(link);
        self.outgoing = links.map(|link| (link.ifindex() as u32, link)).collect();
        Ok(())
    }

    /// Sends a frame by the interface with this index.
    pub fn send(&self, index: u32, frame: &[u8]) -> io::Result<()> {
        let link = self.outgoing.get(&index).ok_or(Errno::ENODEV)?;
        sendto(self.socket.as_raw_fd(), frame, link, MsgFlags::empty())?;
        Ok(())
    }

    /// The next ARP packet that came in, with the index of the interface; `None` when there is none.
    pub fn receive(&self) -> io::Result<Option<(u32, Arp)>> {
        let mut frame = [0; FRAME_BYTES];
        loop {
            match recvfrom::<LinkAddr>(self.socket.as_raw_fd(), &mut frame) {
                Ok((length, Some(from))) => {
                    if let Some(packet) = frame.get(..length).and_then(Arp::read) {
                        return Ok(Some((from.ifindex() as u32, packet)));
                    }
                }
                Ok((_, None)) | Err(Errno::EINTR) => {}
                // An interface went down: the socket says so once, and goes on hearing the others.
                Err(Errno::ENETDOWN) => {}
                Err(Errno::EAGAIN) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
