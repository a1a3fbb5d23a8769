//! What the kernel itself needs: prepared 32 kB batches, one acknowledgement each, nothing else.

use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Instant;

use nix::libc;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, sendto, socket,
};

const BATCH_BYTES: usize = 32 * 1024;

struct Builder {
    bytes: Vec<u8>,
    start: usize,
}

impl Builder {
    fn begin(kind: u16, flags: u16, header: &[u8]) -> Builder {
        let mut bytes = vec![0; 16];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        bytes.extend_from_slice(header);
        Builder { bytes, start: 0 }
    }

    fn attribute(mut self, kind: u16, value: &[u8]) -> Builder {
        self.bytes.extend_from_slice(&(4 + value.len() as u16).to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self
    }

    fn end(mut self) -> Vec<u8> {
        let length = (self.bytes.len() - self.start) as u32;
        self.bytes[0..4].copy_from_slice(&length.to_ne_bytes());
        self.bytes
    }
}

/// A route to a /32, over a next hop object or with the gateway in it.
fn route(address: u32, object: Option<u32>, device: u32) -> Vec<u8> {
    let flags = (libc::NLM_F_REQUEST | libc::NLM_F_CREATE | libc::NLM_F_EXCL) as u16;
    let header = [libc::AF_INET as u8, 32, 0, 0, libc::RT_TABLE_MAIN, 199, 0, libc::RTN_UNICAST, 0, 0, 0, 0];
    let message =
        Builder::begin(libc::RTM_NEWROUTE, flags, &header).attribute(libc::RTA_DST, &address.to_be_bytes());
    match object {
        Some(id) => message.attribute(30, &id.to_ne_bytes()).end(),
        None => message
            .attribute(libc::RTA_GATEWAY, &[192, 0, 2, 2])
            .attribute(libc::RTA_OIF, &device.to_ne_bytes())
            .end(),
    }
}

fn open() -> OwnedFd {
    let socket =
        socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute)
            .expect("a netlink socket");
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, 0)).expect("bound");
    socket
}

/// Sends messages with one acknowledgement, which must be a good one.
fn send(socket: &OwnedFd, bytes: &[u8]) {
    sendto(socket.as_raw_fd(), bytes, &NetlinkAddr::new(0, 0), MsgFlags::empty()).expect("sent");
    let mut answer = [0; 4096];
    let length = recv(socket.as_raw_fd(), &mut answer, MsgFlags::empty()).expect("an answer");
    let error = i32::from_ne_bytes(answer[16..20].try_into().expect("four bytes"));
    assert!(length >= 20 && error == 0, "the kernel answered {error}");
}

/// Seconds the kernel takes for so many routes.
pub fn run(routes: u32, device: u32, with_object: bool) -> f64 {
    let socket = open();
    let object = with_object.then_some(0x4000_0001_u32);
    if let Some(id) = object {
        let flags = (libc::NLM_F_REQUEST | libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_EXCL) as u16;
        let header = [libc::AF_INET as u8, 0, 199, 0, 0, 0, 0, 0];
        let message = Builder::begin(104, flags, &header)
            .attribute(1, &id.to_ne_bytes())
            .attribute(5, &device.to_ne_bytes())
            .attribute(6, &[192, 0, 2, 2])
            .end();
        send(&socket, &message);
    }
    let mut batches: Vec<Vec<u8>> = vec![Vec::with_capacity(BATCH_BYTES)];
    for number in 0..routes {
        let message = route(0x0a00_0000 + number, object, device);
        if batches.last().expect("one").len() + message.len() > BATCH_BYTES {
            batches.push(Vec::with_capacity(BATCH_BYTES));
        }
        batches.last_mut().expect("one").extend(message);
    }
    for batch in &mut batches {
        acknowledge_last(batch);
    }
    let began = Instant::now();
    batches.iter().for_each(|batch| send(&socket, batch));
    began.elapsed().as_secs_f64()
}

fn acknowledge_last(batch: &mut [u8]) {
    let mut at = 0;
    loop {
        let length = u32::from_ne_bytes(batch[at..at + 4].try_into().expect("four bytes")) as usize;
        if at + length >= batch.len() {
            break;
        }
        at += length;
    }
    let flags = u16::from_ne_bytes([batch[at + 6], batch[at + 7]]) | libc::NLM_F_ACK as u16;
    batch[at + 6..at + 8].copy_from_slice(&flags.to_ne_bytes());
}
