//! Network namespaces and sockets inside them, as descriptors that others pass in: what they really are.

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::stat::fstat;

/// Why a descriptor is refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DescriptorError {
    /// The first descriptor is something else.
    #[error("the descriptor given as `netns` is not a network namespace")]
    NotANamespace,
    /// The namespace is the one netd itself lives in.
    #[error("the network namespace is the switch's own, not a workload's")]
    OwnNamespace,
    /// The second descriptor is something else.
    #[error("the descriptor given as `netlink` is not a NETLINK_ROUTE socket")]
    NotNetlink,
    /// The two do not belong together.
    #[error("the netlink socket was not opened inside the given network namespace")]
    Mismatch,
}

/// Identity of a namespace: device and inode of its nsfs file.
type Identity = (u64, u64);

fn identity(fd: impl AsFd) -> Result<Identity, Errno> {
    let stat = fstat(fd)?;
    Ok((stat.st_dev, stat.st_ino))
}

/// Checks that `netns` is a network namespace other than netd's own and that `netlink` is a
/// `NETLINK_ROUTE` socket inside it.
pub fn check(netns: &OwnedFd, netlink: &OwnedFd) -> Result<(), DescriptorError> {
    // SAFETY: NS_GET_NSTYPE takes no argument and answers a flag; on any other file it fails with ENOTTY.
    let kind = unsafe { libc::ioctl(netns.as_raw_fd(), libc::NS_GET_NSTYPE) };
    if kind != libc::CLONE_NEWNET {
        return Err(DescriptorError::NotANamespace);
    }
    let namespace = identity(netns).map_err(|_| DescriptorError::NotANamespace)?;
    let own = std::fs::File::open("/proc/self/ns/net").map_err(|_| DescriptorError::OwnNamespace)?;
    if identity(&own) == Ok(namespace) {
        return Err(DescriptorError::OwnNamespace);
    }
    if !is_netlink_route(netlink) {
        return Err(DescriptorError::NotNetlink);
    }
    match socket_namespace(netlink) {
        Ok(fd) if identity(&fd) == Ok(namespace) => Ok(()),
        _ => Err(DescriptorError::Mismatch),
    }
}

fn is_netlink_route(fd: &OwnedFd) -> bool {
    let integer = |option| {
        let (mut value, mut length) = (0 as libc::c_int, size_of::<libc::c_int>() as libc::socklen_t);
        // SAFETY: `value` and `length` outlive the call and `length` is the size of `value`.
        let result = unsafe {
            libc::getsockopt(
                fd.as_raw_fd(),
                libc::SOL_SOCKET,
                option,
                (&raw mut value).cast(),
                &raw mut length,
            )
        };
        (result == 0).then_some(value)
    };
    integer(libc::SO_DOMAIN) == Some(libc::AF_NETLINK)
        && integer(libc::SO_PROTOCOL) == Some(libc::NETLINK_ROUTE)
}

/// The network namespace a socket lives in (needs CAP_NET_ADMIN over it).
fn socket_namespace(socket: &OwnedFd) -> Result<OwnedFd, Errno> {
    // SAFETY: SIOCGSKNS takes no argument and answers a new descriptor.
    let fd: RawFd =
        Errno::result(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGSKNS as libc::Ioctl) })?;
    // SAFETY: the kernel has just made this descriptor for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
