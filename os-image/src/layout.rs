//! The partition table of a Corten disk. It is final: updates rewrite partitions, never the table.

use uuid::Uuid;

const MIB: u64 = 1 << 20;

/// What a partition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// GRUB's core image for BIOS machines.
    BiosBoot,
    /// The EFI system partition.
    Esp,
    /// The boot environment both slots share; no update rewrites it.
    Grub,
    /// Kernel and root hash of a slot.
    Boot,
    /// A slot's root file system with its hash tree.
    Root,
    /// Generations, transaction journal, host keys, users.
    Config,
    /// containerd, images, volumes, logs.
    Data,
}

/// A partition.
#[derive(Clone, Copy, Debug)]
pub struct Partition {
    /// GPT label.
    pub label: &'static str,
    /// What it holds.
    pub role: Role,
    /// Size in bytes.
    pub bytes: u64,
}

const fn partition(label: &'static str, role: Role, mib: u64) -> Partition {
    Partition { label, role, bytes: mib * MIB }
}

/// All partitions in their order on the disk. `data` is last, so that it can grow with the disk.
pub const PARTITIONS: &[Partition] = &[
    partition("BIOS-BOOT", Role::BiosBoot, 1),
    partition("ESP", Role::Esp, 128),
    partition("CORTEN-GRUB", Role::Grub, 64),
    partition("boot-a", Role::Boot, 128),
    partition("boot-b", Role::Boot, 128),
    partition("root-a", Role::Root, 512),
    partition("root-b", Role::Root, 512),
    partition("config", Role::Config, 256),
    partition("data", Role::Data, 1024),
];

/// Alignment of partitions in bytes.
pub const ALIGN: u64 = MIB;

/// Size of the disk image in bytes: the partitions, and a MiB at each end for the two tables.
pub fn disk_bytes() -> u64 {
    2 * ALIGN + PARTITIONS.iter().map(|p| p.bytes).sum::<u64>()
}

/// Offset in bytes of each partition, in table order.
pub fn offsets() -> impl Iterator<Item = (Partition, u64)> {
    PARTITIONS.iter().scan(ALIGN, |at, partition| {
        let start = *at;
        *at += partition.bytes;
        Some((*partition, start))
    })
}

/// A stable identifier for a thing of the image, derived from its name.
pub fn identifier(name: &str) -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_URL, format!("https://corten.example/disk/{name}").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_aligned_and_fit_the_disk() {
        for (partition, offset) in offsets() {
            assert_eq!(offset % ALIGN, 0, "{}", partition.label);
            assert!(offset + partition.bytes <= disk_bytes() - ALIGN, "{}", partition.label);
        }
    }

    #[test]
    fn labels_fit_a_gpt_name() {
        assert!(PARTITIONS.iter().all(|p| p.label.len() <= 36));
    }
}
