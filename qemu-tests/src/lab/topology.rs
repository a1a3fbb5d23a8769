//! The kinds of machines.

use qemu_tests::demo;
use qemu_tests::machine;

use super::documents;

/// A kind of machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topology {
    /// Twelve virtio ports, all that a document can say; BIOS, provisioned over fw_cfg.
    Switch,
    /// The same with containerd running and an image of a small system imported.
    Containers,
    /// The demo: six virtio ports, UEFI, provisioned over SMBIOS.
    Demo,
    /// Four ports of an emulated ASIC.
    Rocker,
    /// Four ports of a simulated ASIC and one that negotiates, on the kernel that only tests boot.
    Netdevsim,
    /// Two virtio ports, not provisioned.
    Fresh,
    /// Four virtio ports of a machine that no platform file is about, of which some are taken out before netd starts:
    /// [`documents::UNPLUG_UNIT`].
    Unknown,
    /// 64 quiet virtio ports.
    Measured,
    /// A switch of a [`super::fabric`], which says what it has.
    Member,
}

/// How a chain of scenarios gets its machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It boots: either its boot is what is shown, or QEMU cannot save it.
    Boot,
    /// It is a clone of a machine that was booted and saved in this run.
    Template,
    /// The template itself begins as a clone of another one.
    Derived(Topology),
}

impl Topology {
    /// Name, also that of log files.
    pub fn name(self) -> &'static str {
        match self {
            Topology::Switch => "switch",
            Topology::Containers => "containers",
            Topology::Demo => "demo",
            Topology::Rocker => "rocker",
            Topology::Netdevsim => "netdevsim",
            Topology::Fresh => "fresh",
            Topology::Unknown => "unknown",
            Topology::Measured => "measured",
            Topology::Member => "member",
        }
    }

    /// How chains get it.
    pub fn origin(self) -> Origin {
        match self {
            Topology::Switch | Topology::Netdevsim => Origin::Template,
            Topology::Containers => Origin::Derived(Topology::Switch),
            Topology::Demo
            | Topology::Rocker
            | Topology::Fresh
            | Topology::Unknown
            | Topology::Measured
            | Topology::Member => Origin::Boot,
        }
    }

    /// Whether it boots the kernel that only tests boot.
    pub fn needs_test_kernel(self) -> bool {
        self == Topology::Netdevsim
    }

    pub(super) fn ports(self) -> u16 {
        match self {
            Topology::Switch | Topology::Containers => 12,
            Topology::Demo => 6,
            Topology::Rocker | Topology::Unknown => 4,
            // The kernel makes its ports.
            Topology::Netdevsim => 0,
            // Their fabric says how many.
            Topology::Member => 0,
            Topology::Fresh => 2,
            Topology::Measured => machine::MAX_PORTS,
        }
    }

    /// The document a lab is provisioned with; none for a fresh switch.
    pub(super) fn document(self, public_key: &str) -> Option<String> {
        match self {
            Topology::Switch | Topology::Containers => Some(documents::switch(public_key)),
            Topology::Demo => Some(demo::config(self.ports(), machine::Asic::Virtio)),
            Topology::Rocker => Some(documents::rocker(public_key)),
            Topology::Netdevsim => Some(documents::netdevsim(public_key)),
            Topology::Unknown => Some(documents::unknown(public_key)),
            Topology::Fresh | Topology::Member => None,
            Topology::Measured => Some(documents::measured(public_key)),
        }
    }
}
