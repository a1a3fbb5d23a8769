//! Veth pairs: the two sides of a workload's interface.

use std::os::fd::{AsRawFd, BorrowedFd};

use nix::libc;

use super::link::{OWN_GROUP, header};
use super::wire::Message;

/// `linux/veth.h`.
const VETH_INFO_PEER: u16 = 1;

/// What [`create`] makes.
pub struct VethRequest<'a> {
    /// Name of the switch's side.
    pub name: &'a str,
    /// Hardware address of the switch's side.
    pub mac: [u8; 6],
    /// Name of the workload's side.
    pub peer_name: &'a str,
    /// Hardware address of the workload's side.
    pub peer_mac: [u8; 6],
    /// Network namespace the workload's side is born in.
    pub peer_namespace: BorrowedFd<'a>,
    /// MTU of both sides in bytes.
    pub mtu_bytes: u32,
}

/// Makes a veth pair whose far side is born in another namespace.
pub fn create(request: &VethRequest) -> Message {
    let flags = (libc::NLM_F_CREATE | libc::NLM_F_EXCL) as u16;
    Message::new(libc::RTM_NEWLINK, flags, &header(0, 0, 0))
        .text(libc::IFLA_IFNAME, request.name)
        .attribute(libc::IFLA_ADDRESS, &request.mac)
        .u32(libc::IFLA_MTU, request.mtu_bytes)
        .u32(libc::IFLA_GROUP, OWN_GROUP)
        .nest(libc::IFLA_LINKINFO, |info| {
            info.attribute(libc::IFLA_INFO_KIND, b"veth").nest(libc::IFLA_INFO_DATA, |data| {
                data.nest_after(VETH_INFO_PEER, &header(0, 0, 0), |peer| {
                    peer.text(libc::IFLA_IFNAME, request.peer_name)
                        .attribute(libc::IFLA_ADDRESS, &request.peer_mac)
                        .u32(libc::IFLA_MTU, request.mtu_bytes)
                        .u32(libc::IFLA_NET_NS_FD, request.peer_namespace.as_raw_fd() as u32)
                })
            })
        })
}
