//! The kernel's answer to a request that failed: errno, and its own words (`NLM_F_ACK_TLVS`).

use std::fmt;

use nix::errno::Errno;
use nix::libc;

use super::wire::{attributes, read_text, read_u32};

/// Attributes of an error message (`enum nlmsgerr_attrs` in linux/netlink.h).
const NLMSGERR_ATTR_MSG: u16 = 1;
const NLMSGERR_ATTR_OFFS: u16 = 2;
const NLMSGERR_ATTR_MISS_TYPE: u16 = 5;

/// Why the kernel refused a request. Small, since a batch keeps an outcome for each of its messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelError {
    /// The error number.
    pub errno: Errno,
    details: Option<Box<Details>>,
}

/// What comes with some errors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Details {
    words: Option<String>,
    offset: Option<u32>,
    missing: Option<u32>,
}

impl KernelError {
    /// An error with words.
    pub fn with_words(errno: Errno, words: impl Into<String>) -> KernelError {
        let details = Details { words: Some(words.into()), ..Details::default() };
        KernelError { errno, details: Some(Box::new(details)) }
    }

    /// The kernel's or the driver's words; `None` when it gave none.
    pub fn words(&self) -> Option<&str> {
        self.details.as_ref()?.words.as_deref()
    }

    /// Offset of the offending attribute in the request, in bytes.
    pub fn offset(&self) -> Option<u32> {
        self.details.as_ref()?.offset
    }

    /// Kind of the attribute that was missing.
    pub fn missing(&self) -> Option<u32> {
        self.details.as_ref()?.missing
    }

    /// Whether what was to be removed is not there.
    pub fn is_absent(&self) -> bool {
        matches!(self.errno, Errno::ENODEV | Errno::ENOENT | Errno::ESRCH | Errno::EADDRNOTAVAIL)
    }

    /// Whether a lookup of a route ended at none, or at one that forwards nothing (`fib_props` of the kernel).
    pub fn is_no_route(&self) -> bool {
        let unreachable = [Errno::ENETUNREACH, Errno::EHOSTUNREACH, Errno::ESRCH, Errno::ENOENT];
        let dropped = [Errno::EINVAL, Errno::EACCES, Errno::EAGAIN];
        unreachable.contains(&self.errno) || dropped.contains(&self.errno)
    }

    /// Whether the kernel or the driver does not know such a thing at all.
    pub fn is_unsupported(&self) -> bool {
        self.errno == Errno::EOPNOTSUPP
    }

    /// Whether the words are a driver's: those begin with the name of its module (`NL_SET_ERR_MSG_MOD`), as
    /// `netdevsim: Exceeded number of supported nexthops`.
    pub fn is_from_driver(&self) -> bool {
        let module = self.words().and_then(|words| words.split_once(": ")).map(|(module, _)| module);
        let named = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        module.is_some_and(|module| !module.is_empty() && module.chars().all(named))
    }

    /// Reads the payload of an `NLMSG_ERROR`; `None` when it is an acknowledgement.
    pub fn parse(flags: u16, payload: &[u8]) -> Option<KernelError> {
        let code = read_u32(payload) as i32;
        if code == 0 {
            return None;
        }
        let mut error = KernelError::from(Errno::from_raw(code.wrapping_neg()));
        if flags & libc::NLM_F_ACK_TLVS as u16 != 0 {
            // Without NLM_F_CAPPED the whole request stands between its header and the attributes.
            let capped = flags & libc::NLM_F_CAPPED as u16 != 0;
            let request = if capped { 16 } else { read_u32(payload.get(4..).unwrap_or_default()) as usize };
            let start = request.next_multiple_of(4).saturating_add(4);
            error.details = Details::parse(payload.get(start..).unwrap_or_default());
        }
        Some(error)
    }

    /// Reads the payload of an `NLMSG_DONE`; `None` when the dump came to its end.
    pub fn parse_done(flags: u16, payload: &[u8]) -> Option<KernelError> {
        let mut error = KernelError::parse(0, payload)?;
        if flags & libc::NLM_F_ACK_TLVS as u16 != 0 {
            error.details = Details::parse(payload.get(4..).unwrap_or_default());
        }
        Some(error)
    }
}

impl Details {
    fn parse(bytes: &[u8]) -> Option<Box<Details>> {
        let mut details = Details::default();
        for (kind, value) in attributes(bytes) {
            match kind {
                NLMSGERR_ATTR_MSG => details.words = Some(read_text(value)),
                NLMSGERR_ATTR_OFFS => details.offset = Some(read_u32(value)),
                NLMSGERR_ATTR_MISS_TYPE => details.missing = Some(read_u32(value)),
                _ => {}
            }
        }
        (details != Details::default()).then(|| Box::new(details))
    }
}

impl From<Errno> for KernelError {
    fn from(errno: Errno) -> Self {
        KernelError { errno, details: None }
    }
}

impl From<std::io::Error> for KernelError {
    fn from(error: std::io::Error) -> Self {
        KernelError::from(Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)))
    }
}

impl fmt::Display for KernelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.words(), self.missing()) {
            (Some(words), _) => write!(f, "{words} ({:?})", self.errno),
            (None, Some(kind)) => write!(f, "attribute {kind} is missing ({:?})", self.errno),
            // Dumps and tables the running kernel was built without answer like this.
            (None, None) => write!(f, "{} ({:?})", self.errno.desc(), self.errno),
        }
    }
}

impl std::error::Error for KernelError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(code: i32, words: &str) -> Vec<u8> {
        let mut bytes = code.to_ne_bytes().to_vec();
        bytes.extend_from_slice(&[0; 16]);
        bytes.extend_from_slice(&((5 + words.len()) as u16).to_ne_bytes());
        bytes.extend_from_slice(&1u16.to_ne_bytes());
        bytes.extend_from_slice(words.as_bytes());
        bytes.push(0);
        bytes
    }

    #[test]
    fn the_kernels_words_are_kept() {
        let flags = (libc::NLM_F_ACK_TLVS | libc::NLM_F_CAPPED) as u16;
        let error = KernelError::parse(flags, &payload(-libc::EINVAL, "Nexthop has invalid gateway"));
        assert_eq!(error.map(|e| e.to_string()).as_deref(), Some("Nexthop has invalid gateway (EINVAL)"));
    }

    #[test]
    fn words_of_a_driver_are_told_from_those_of_the_kernel() {
        let says = |words: &str| KernelError::with_words(Errno::EINVAL, words).is_from_driver();
        assert!(says("rocker: IPv4 route with nexthop objects is not supported"));
        assert!(says("mlxsw_spectrum: Unsupported nexthop group"));
        assert!(!says("Nexthop id does not exist"));
        assert!(!says("Invalid gateway: not reachable"));
        assert!(!KernelError::from(Errno::EOPNOTSUPP).is_from_driver());
    }

    #[test]
    fn zero_is_an_acknowledgement() {
        assert_eq!(KernelError::parse(0, &payload(0, "")), None);
    }

    #[test]
    fn an_outcome_takes_no_more_than_two_words_of_memory() {
        assert!(size_of::<Result<(), KernelError>>() <= 16);
    }

    #[test]
    fn hostile_payloads_do_not_panic() {
        for length in 0..24 {
            let bytes = vec![0xff; length];
            let _ = KernelError::parse(libc::NLM_F_ACK_TLVS as u16, &bytes);
        }
    }
}
