//! Events of how ports are set, which the `ethtool` family tells: somebody has a port offer, run at or correct
//! something else. A port without a carrier has no other event of that. Error correction that is set by the older
//! ioctl is not told.

use netlink_sys::protocols::NETLINK_GENERIC;

use super::connection::for_each_message;
use super::ethtool::{ETHTOOL_MCGRP_MONITOR_NAME, ETHTOOL_MSG_FEC_NTF, ETHTOOL_MSG_LINKMODES_NTF, FAMILY};
use super::event_socket::EventSocket;
use super::extack::KernelError;
use super::generic;

/// Room for an event of each port, and more.
const RECEIVE_BUFFER_BYTES: usize = 256 * 1024;

/// The socket; `None` where the kernel has no such events.
pub(super) struct PortMonitor(Option<EventSocket>);

impl PortMonitor {
    /// Subscribes. Must be called inside a tokio runtime.
    pub fn open() -> Result<PortMonitor, KernelError> {
        let open = |group| EventSocket::open(NETLINK_GENERIC, &[group], RECEIVE_BUFFER_BYTES, |_| Ok(()));
        Ok(PortMonitor(generic::group(FAMILY, ETHTOOL_MCGRP_MONITOR_NAME)?.map(open).transpose()?))
    }

    /// Waits for the next events; answers whether a port was set, as it may have been when some were lost.
    pub async fn next(&mut self) -> Result<bool, KernelError> {
        match &mut self.0 {
            Some(socket) => Ok(socket.next().await?.is_none_or(is_setting)),
            None => std::future::pending().await,
        }
    }
}

/// Whether a datagram tells that a port was set. One that is no message may.
pub(super) fn is_setting(datagram: &[u8]) -> bool {
    let mut found = false;
    let walked = for_each_message(datagram, |message| {
        let command = message.payload().first();
        found |=
            command.is_some_and(|command| [ETHTOOL_MSG_LINKMODES_NTF, ETHTOOL_MSG_FEC_NTF].contains(command));
    });
    found || walked.is_err()
}
