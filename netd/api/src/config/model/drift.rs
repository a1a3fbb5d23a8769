//! `[drift]`: what becomes of changes made behind the switch's back.

use std::collections::BTreeSet;

use super::Place;

/// `[drift]`: what becomes of a difference between the document and the kernel that somebody else made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drift {
    /// Where the section begins.
    pub place: Place,
    /// Sections whose differences are only reported; those of all others are repaired.
    pub report_only: BTreeSet<DriftSection>,
}

impl Drift {
    /// Whether differences of a section are repaired.
    pub fn repairs(&self, section: DriftSection) -> bool {
        !self.report_only.contains(&section)
    }
}

/// Sections of the document that others may interfere with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DriftSection {
    /// `ports`.
    Ports,
    /// `lags`.
    Lags,
    /// `bridge`.
    Bridge,
    /// `vlans`, with their interfaces.
    Vlans,
    /// `subinterfaces`.
    Subinterfaces,
    /// `vxlans`.
    Vxlans,
    /// `vrfs`.
    Vrfs,
    /// `loopbacks`.
    Loopbacks,
    /// `routes`, with their next hops.
    Routes,
    /// `neighbours`.
    Neighbours,
    /// `fdb`.
    Fdb,
    /// `mdb`.
    Mdb,
}

impl DriftSection {
    /// All, as the document names them.
    pub const ALL: [(&'static str, DriftSection); 12] = [
        ("ports", DriftSection::Ports),
        ("lags", DriftSection::Lags),
        ("bridge", DriftSection::Bridge),
        ("vlans", DriftSection::Vlans),
        ("subinterfaces", DriftSection::Subinterfaces),
        ("vxlans", DriftSection::Vxlans),
        ("vrfs", DriftSection::Vrfs),
        ("loopbacks", DriftSection::Loopbacks),
        ("routes", DriftSection::Routes),
        ("neighbours", DriftSection::Neighbours),
        ("fdb", DriftSection::Fdb),
        ("mdb", DriftSection::Mdb),
    ];
}
