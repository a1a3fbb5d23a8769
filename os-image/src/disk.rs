//! The disk image: partition table, boot loader, boot slots and empty state partitions.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use gpt::disk::LogicalBlockSize;
use gpt::mbr::ProtectiveMBR;
use gpt::partition_types::{self, Type};

use crate::cache;
use crate::erofs::SealedRoot;
use crate::grub::{self, Grub};
use crate::kernel::Kernel;
use crate::layout::{self, Partition, Role};
use crate::process;
use crate::progress::Step;

const SECTOR: u64 = 512;

/// Writes the disk image and answers its path. Slot A holds the system; slot B is empty until an update.
pub fn write(kernel: &Kernel, root: &SealedRoot) -> Result<PathBuf> {
    let image = crate::paths::image();
    let partial = image.with_extension("img.partial");
    let step = Step::begin("Writing the disk image", 0);
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&partial)?;
    file.set_len(layout::disk_bytes())?;
    let (_, bios_offset) =
        layout::offsets().find(|(p, _)| p.role == Role::BiosBoot).context("no BIOS boot partition")?;
    let grub = grub::make(bios_offset / SECTOR)?;
    write_table(file, &grub)?;
    for (partition, offset) in layout::offsets() {
        fill(&partial, &partition, offset, &grub, kernel, root)
            .with_context(|| format!("partition {}", partition.label))?;
    }
    fs::rename(&partial, &image)?;
    step.done(&image.display().to_string());
    Ok(image)
}

fn write_table(mut file: File, grub: &Grub) -> Result<()> {
    let sectors = u32::try_from(layout::disk_bytes() / SECTOR - 1).unwrap_or(u32::MAX);
    let mut mbr = ProtectiveMBR::with_lb_size(sectors);
    mbr.set_bootcode(grub.boot_code);
    mbr.overwrite_lba0(&mut file)?;
    let config = gpt::GptConfig::new().writable(true).logical_block_size(LogicalBlockSize::Lb512);
    let mut disk = config.create_from_device(file, Some(layout::identifier("disk")))?;
    let mut table = BTreeMap::new();
    for (index, (partition, offset)) in (1..).zip(layout::offsets()) {
        let entry = gpt::partition::Partition {
            part_type_guid: kind(partition.role),
            part_guid: layout::identifier(partition.label),
            first_lba: offset / SECTOR,
            last_lba: (offset + partition.bytes) / SECTOR - 1,
            flags: 0,
            name: partition.label.to_owned(),
        };
        table.insert(index, entry);
    }
    disk.update_partitions(table)?;
    disk.write()?.sync_all()?;
    Ok(())
}

fn kind(role: Role) -> Type {
    match role {
        Role::BiosBoot => partition_types::BIOS,
        Role::Esp => partition_types::EFI,
        _ => partition_types::LINUX_FS,
    }
}

fn fill(
    image: &Path,
    partition: &Partition,
    offset: u64,
    grub: &Grub,
    kernel: &Kernel,
    root: &SealedRoot,
) -> Result<()> {
    match (partition.role, partition.label) {
        (Role::BiosBoot, _) => {
            copy_into(image, offset, partition, &mut grub.core.as_slice(), grub.core.len() as u64)
        }
        (Role::Esp, _) => esp(image, offset, partition, grub),
        (Role::Grub, _) => {
            let folder = stage("grub")?;
            fs::create_dir_all(folder.join("grub"))?;
            fs::copy(crate::paths::os_image().join("grub/grub.cfg"), folder.join("grub/grub.cfg"))?;
            // ext2 without what GRUB's reader does not know.
            ext4(image, offset, partition, "ext2", "CORTEN-GRUB", Some(&folder))
        }
        (Role::Boot, "boot-a") => {
            let folder = stage("boot")?;
            fs::copy(kernel.dir.join("vmlinuz"), folder.join("vmlinuz"))?;
            fs::write(folder.join("slot.cfg"), root.slot_cfg())?;
            ext4(image, offset, partition, "ext2", "BOOT-a", Some(&folder))
        }
        (Role::Boot, _) => ext4(image, offset, partition, "ext2", "BOOT-b", None),
        (Role::Root, "root-a") => {
            copy_into(image, offset, partition, &mut File::open(&root.file)?, root.bytes()?)
        }
        (Role::Root, _) => Ok(()),
        (Role::Config, _) => ext4(image, offset, partition, "ext4", "config", None),
        (Role::Data, _) => ext4(image, offset, partition, "ext4", "data", None),
    }
}

/// An empty folder to fill a file system from.
fn stage(name: &str) -> Result<PathBuf> {
    let dir = crate::paths::output().join("stage").join(name);
    cache::clear_folder(&dir)?;
    fs::create_dir_all(&dir)?;
    Ok(dir)
}

fn esp(image: &Path, offset: u64, partition: &Partition, grub: &Grub) -> Result<()> {
    let file = stage("esp")?.join("esp.img");
    File::create(&file)?.set_len(partition.bytes)?;
    let mut format = Command::new("/usr/sbin/mkfs.vfat");
    process::run(format.args(["-F", "32", "-n", "ESP", "-i", "c0c0c0c0", "--invariant"]).arg(&file))?;
    process::run(Command::new("mmd").arg("-i").arg(&file).args(["::/EFI", "::/EFI/BOOT", "::/EFI/corten"]))?;
    for target in ["::/EFI/BOOT/BOOTX64.EFI", "::/EFI/corten/grubx64.efi"] {
        process::run(Command::new("mcopy").arg("-i").arg(&file).arg(&grub.efi).arg(target))?;
    }
    copy_into(image, offset, partition, &mut File::open(&file)?, partition.bytes)
}

fn ext4(
    image: &Path,
    offset: u64,
    partition: &Partition,
    kind: &str,
    label: &str,
    from: Option<&Path>,
) -> Result<()> {
    let mut command = Command::new("/usr/sbin/mke2fs");
    let id = layout::identifier(&format!("file system {}", partition.label)).to_string();
    let extended = format!("offset={offset},root_owner=0:0,hash_seed={id}");
    command.args(["-q", "-F", "-t", kind, "-L", label, "-U", &id, "-m", "0", "-E", &extended]);
    if let Some(folder) = from {
        command.arg("-d").arg(folder);
    }
    command.arg(image).arg(format!("{}k", partition.bytes / 1024));
    process::run(command.env("E2FSPROGS_FAKE_TIME", "1"))
}

/// Copies a source into a partition, leaving blocks of zeros as holes.
fn copy_into(
    image: &Path,
    offset: u64,
    partition: &Partition,
    source: &mut dyn Read,
    bytes: u64,
) -> Result<()> {
    if bytes > partition.bytes {
        bail!("{} MB do not fit {} MB", bytes / 1_000_000, partition.bytes / 1_000_000);
    }
    let mut file = OpenOptions::new().write(true).open(image)?;
    let mut buffer = vec![0; 1 << 20];
    let mut at = offset;
    loop {
        let count = source.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        if buffer[..count].iter().any(|byte| *byte != 0) {
            file.seek(SeekFrom::Start(at))?;
            file.write_all(&buffer[..count])?;
        }
        at += count as u64;
    }
}
