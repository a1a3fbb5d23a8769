//! Settings of routing as a whole: what spreads packets over next hops, and which sources are believed.

/// `[routing] ecmp-hash`: what a flow is told by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EcmpHash {
    /// Addresses.
    Layer3,
    /// Addresses, protocol and ports.
    #[default]
    Layer3And4,
    /// Addresses, of what is in a tunnel those inside.
    InnerLayer3,
    /// These fields.
    Fields(EcmpFields),
}

impl EcmpHash {
    /// All that have a name, by it.
    pub const NAMES: [(&str, EcmpHash); 3] = [
        ("layer3", EcmpHash::Layer3),
        ("layer3+4", EcmpHash::Layer3And4),
        ("inner-layer3", EcmpHash::InnerLayer3),
    ];

    /// The kernel's number of it (`fib_multipath_hash_policy`).
    pub fn policy(self) -> u32 {
        match self {
            EcmpHash::Layer3 => 0,
            EcmpHash::Layer3And4 => 1,
            EcmpHash::InnerLayer3 => 2,
            EcmpHash::Fields(_) => 3,
        }
    }

    /// The fields (`fib_multipath_hash_fields`); the kernel's own choice where they play no part.
    pub fn fields(self) -> EcmpFields {
        match self {
            EcmpHash::Fields(fields) => fields,
            _ => EcmpFields::DEFAULT,
        }
    }
}

/// Fields of a packet, a bit each (`FIB_MULTIPATH_HASH_FIELD_…` of include/net/ip_fib.h).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EcmpFields(pub u32);

impl EcmpFields {
    /// Addresses and protocol.
    const DEFAULT: EcmpFields = EcmpFields(0b111);

    /// The fields by their names, in the order of their bits.
    pub const NAMES: [(&str, EcmpFields); 12] = [
        ("source-address", EcmpFields(1)),
        ("destination-address", EcmpFields(1 << 1)),
        ("protocol", EcmpFields(1 << 2)),
        ("flow-label", EcmpFields(1 << 3)),
        ("source-port", EcmpFields(1 << 4)),
        ("destination-port", EcmpFields(1 << 5)),
        ("inner-source-address", EcmpFields(1 << 6)),
        ("inner-destination-address", EcmpFields(1 << 7)),
        ("inner-protocol", EcmpFields(1 << 8)),
        ("inner-flow-label", EcmpFields(1 << 9)),
        ("inner-source-port", EcmpFields(1 << 10)),
        ("inner-destination-port", EcmpFields(1 << 11)),
    ];
}

/// `[routing] reverse-path`: whether a packet's source is compared with the way back to it (RFC 3704).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReversePath {
    /// It is not.
    #[default]
    Off,
    /// There must be a way.
    Loose,
    /// The way must be by the interface the packet came in on.
    Strict,
}

impl ReversePath {
    /// All of them by their names in the document.
    pub const NAMES: [(&str, ReversePath); 3] =
        [("off", ReversePath::Off), ("loose", ReversePath::Loose), ("strict", ReversePath::Strict)];
}
