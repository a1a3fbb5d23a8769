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
/// Puts a random number into A.
const RANDOM: u32 = (libc::SKF_AD_OFF + libc::SKF_AD_RANDOM) as u32;
/// Of the neighbours that do not answer, one of so many is heard: it takes many to matter, and a host that is asked for
/// in vain now and then is no reason to wake up.
const UNANSWERED_SHARE: u32 = 64;
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
const MASK: u32 = libc::BPF_ALU | libc::BPF_AND | libc::BPF_K;
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

/// What is let through beside the loss of what netd set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Heard {
    /// That the socket with this port id set or removed a route is no news; 0 for no such socket.
    pub own: u32,
    /// Whether also what else becomes of netd's routes is told.
    pub recoveries: bool,
    /// That tables grow by what hosts do: one of so many addresses that the bridge learns (a power of two, 1 for each),
    /// and some of the neighbours that do not answer. `None` for none.
    pub growth: Option<u32>,
}

/// Takes one message of so many, a power of two; the others are dropped.
fn sample(of: u32) -> [sock_filter; 5] {
    [
        step(LOAD_WORD, RANDOM),
        step(MASK, of.next_power_of_two() - 1),
        test(IS, 0, 0, 1),
        step(RETURN, TAKE),
        step(RETURN, DROP),
    ]
}

/// The program.
fn program(Heard { own, recoveries, growth }: Heard) -> Vec<sock_filter> {
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
    let new_neighbour = neighbour(growth);
    let lost_neighbour = neighbour(None);
    let mut program = vec![step(LOAD_HALF, KIND)];
    let kinds = [
        (libc::RTM_NEWROUTE, &new_route),
        (libc::RTM_DELROUTE, &lost_route),
        (libc::RTM_NEWNEIGH, &new_neighbour),
        (libc::RTM_DELNEIGH, &lost_neighbour),
    ];
    for (kind, steps) in kinds {
        program.push(test(IS, half(kind), 0, steps.len()));
        program.extend(steps);
    }
    program.push(step(RETURN, TAKE));
    program
}

/// What is heard of neighbours: static forwarding entries, and ARP and ND entries that netd set; with `growth`, samples
/// of what hosts make tables grow by.
fn neighbour(growth: Option<u32>) -> Vec<sock_filter> {
    let learned = growth.map(sample).map_or_else(|| vec![step(RETURN, DROP)], Vec::from);
    let unanswered = growth.map_or_else(Vec::new, |_| {
        let sample = sample(UNANSWERED_SHARE);
        let mut steps =
            vec![step(LOAD_HALF, NEIGHBOUR_STATE), test(HAS, half(libc::NUD_FAILED), 0, sample.len())];
        steps.extend(sample);
        steps
    });
    let mut program = vec![
        step(LOAD_BYTE, NEIGHBOUR_FAMILY),
        test(IS, libc::AF_BRIDGE as u32, 0, 3 + learned.len()),
        step(LOAD_HALF, NEIGHBOUR_STATE),
        test(HAS, half(libc::NUD_NOARP), 0, 1),
        step(RETURN, TAKE),
    ];
    program.extend(learned);
    program.extend(unanswered);
    program.extend([
        step(SET_A, NEIGHBOUR_ATTRIBUTES),
        step(SET_X, NDA_PROTOCOL.into()),
        step(LOAD_WORD, FIND_ATTRIBUTE),
        test(IS, 0, 3, 0),
        step(COPY_A_TO_X, 0),
        step(LOAD_BYTE_FROM_X, 4),
        test(IS, OWN_PROTOCOL.into(), 1, 0),
        step(RETURN, DROP),
        step(RETURN, TAKE),
    ]);
    program
}

/// Puts the filter on an event socket, in place of one that is there.
pub(super) fn attach(socket: &impl AsFd, heard: Heard) -> Result<(), KernelError> {
    let mut steps = program(heard);
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
