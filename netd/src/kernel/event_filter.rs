//! What the kernel need not even hand to the event socket: a classic BPF program it runs on each event.
//!
//! A switch learns addresses all day and a routing daemon may change a million routes; netd would be woken
//! for each. It cares for the loss of what it set, for who takes its place, and for what the hardware makes
//! of its routes.

use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;
use nix::libc::{self, sock_filter};

use super::extack::KernelError;
use super::neighbour::NDA_PROTOCOL;
use super::route::{OWN_PROTOCOL, RTM_F_OFFLOAD_FAILED, RTM_F_TRAP};

/// A socket option libc lacks (asm-generic/socket.h).
const SO_ATTACH_FILTER: libc::c_int = 26;
/// Where `nlmsghdr` has the message's kind, flags and the port id of who caused it.
const KIND: u32 = 4;
const FLAGS: u32 = 6;
const CAUSED_BY: u32 = 12;
/// Where `rtmsg` has protocol and flags, behind `nlmsghdr`.
const ROUTE_PROTOCOL: u32 = 16 + 5;
const ROUTE_FLAGS: u32 = 16 + 8;
/// Where `ndmsg` has family and state, and where its attributes begin.
const NEIGHBOUR_FAMILY: u32 = 16;
const NEIGHBOUR_STATE: u32 = 16 + 8;
const NEIGHBOUR_ATTRIBUTES: u32 = 16 + 12;
/// Puts the place of the attribute whose kind is in X into A, searching from place A; 0 for none.
const FIND_ATTRIBUTE: u32 = (libc::SKF_AD_OFF + libc::SKF_AD_NLATTR) as u32;

/// The program's answers: all of the message, or nothing of it.
const TAKE: u32 = u32::MAX;
const DROP: u32 = 0;

const LOAD_BYTE: u32 = libc::BPF_LD | libc::BPF_B | libc::BPF_ABS;
const LOAD_HALF: u32 = libc::BPF_LD | libc::BPF_H | libc::BPF_ABS;
const LOAD_WORD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
const LOAD_BYTE_FROM_X: u32 = libc::BPF_LD | libc::BPF_B | libc::BPF_IND;
const SET_A: u32 = libc::BPF_LD | libc::BPF_IMM;
const SET_X: u32 = libc::BPF_LDX | libc::BPF_IMM;
const COPY_A_TO_X: u32 = libc::BPF_MISC | libc::BPF_TAX;
const IS: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
const HAS: u32 = libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K;
const RETURN: u32 = libc::BPF_RET | libc::BPF_K;

fn step(code: u32, value: u32) -> sock_filter {
    sock_filter { code: code as u16, jt: 0, jf: 0, k: value }
}

/// A test of A that skips `yes` or `no` steps.
fn test(code: u32, value: u32, yes: usize, no: usize) -> sock_filter {
    sock_filter { code: code as u16, jt: yes as u8, jf: no as u8, k: value }
}

/// BPF loads in network order what netlink keeps in host order.
fn half(value: u16) -> u32 {
    u16::from_be_bytes(value.to_ne_bytes()).into()
}

fn word(value: u32) -> u32 {
    u32::from_be_bytes(value.to_ne_bytes())
}

/// The program. That the socket with port id `own` set or removed a route is no news; 0 for no such socket.
/// With `recoveries`, also what else becomes of netd's routes is let through.
fn program(own: u32, recoveries: bool) -> Vec<sock_filter> {
    // The kernel itself has number 0, so that must not match where there is no `own`.
    let known = own != 0;
    let own = if known { own } else { u32::MAX };
    // Of netd's own protocol: the hardware does not take it, or another program set it. Of others: it may have replaced
    // one of netd's. What nobody caused is the hardware's.
    let (of_hardware, of_others) = (if recoveries { 2 } else { 1 }, usize::from(known));
    let new_route = vec![
        step(LOAD_BYTE, ROUTE_PROTOCOL),
        test(IS, OWN_PROTOCOL.into(), 0, 7),
        step(LOAD_WORD, ROUTE_FLAGS),
        test(HAS, word(RTM_F_TRAP | RTM_F_OFFLOAD_FAILED), 4, 0),
        step(LOAD_WORD, CAUSED_BY),
        test(IS, 0, of_hardware, 0),
        test(IS, word(own), 0, of_others),
        step(RETURN, DROP),
        step(RETURN, TAKE),
        step(LOAD_HALF, FLAGS),
        test(HAS, half(libc::NLM_F_REPLACE as u16), 0, 1),
        step(RETURN, TAKE),
        step(RETURN, DROP),
    ];
    let lost_route = vec![
        step(LOAD_BYTE, ROUTE_PROTOCOL),
        test(IS, OWN_PROTOCOL.into(), 1, 0),
        step(RETURN, DROP),
        step(LOAD_WORD, CAUSED_BY),
        test(IS, word(own), 0, 1),
        step(RETURN, DROP),
        step(RETURN, TAKE),
    ];
    // Static forwarding entries; ARP and ND entries that netd set.
    let neighbour = vec![
        step(LOAD_BYTE, NEIGHBOUR_FAMILY),
        test(IS, libc::AF_BRIDGE as u32, 0, 3),
        step(LOAD_HALF, NEIGHBOUR_STATE),
        test(HAS, half(libc::NUD_NOARP), 9, 0),
        step(RETURN, DROP),
        step(SET_A, NEIGHBOUR_ATTRIBUTES),
        step(SET_X, NDA_PROTOCOL.into()),
        step(LOAD_WORD, FIND_ATTRIBUTE),
        test(IS, 0, 3, 0),
        step(COPY_A_TO_X, 0),
        step(LOAD_BYTE_FROM_X, 4),
        test(IS, OWN_PROTOCOL.into(), 1, 0),
        step(RETURN, DROP),
        step(RETURN, TAKE),
    ];
    let mut program = vec![step(LOAD_HALF, KIND)];
    let kinds = [
        (libc::RTM_NEWROUTE, &new_route),
        (libc::RTM_DELROUTE, &lost_route),
        (libc::RTM_NEWNEIGH, &neighbour),
        (libc::RTM_DELNEIGH, &neighbour),
    ];
    for (kind, steps) in kinds {
        program.push(test(IS, half(kind), 0, steps.len()));
        program.extend(steps);
    }
    program.push(step(RETURN, TAKE));
    program
}

/// Puts the filter on an event socket, in place of one that is there. `own` is the port id of the socket
/// netd makes its changes with; 0 for none. With `recoveries`, hardware that takes a route is heard, too.
pub(super) fn attach(socket: &impl AsFd, own: u32, recoveries: bool) -> Result<(), KernelError> {
    let mut steps = program(own, recoveries);
    let program = libc::sock_fprog { len: steps.len() as libc::c_ushort, filter: steps.as_mut_ptr() };
    // SAFETY: `program` and the steps it points to outlive the call, `len` is their number, and the kernel
    // checks and copies them.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            SO_ATTACH_FILTER,
            (&raw const program).cast(),
            size_of::<libc::sock_fprog>() as libc::socklen_t,
        )
    };
    Errno::result(result).map(drop).map_err(KernelError::from)
}
