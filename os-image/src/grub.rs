//! The boot loader: GRUB images for BIOS and UEFI made without touching a device, and their menu.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process;

/// Bytes of a disk sector, as GRUB's boot code counts them.
const SECTOR: usize = 512;

/// Modules both images carry inside, so that nothing is loaded from a disk before the menu.
const MODULES: &[&str] = &[
    "part_gpt",
    "ext2",
    "normal",
    "configfile",
    "linux",
    "search",
    "search_label",
    "test",
    "echo",
    "serial",
    "terminal",
    "loadenv",
    "sleep",
    "reboot",
    "halt",
    "probe",
    "regexp",
    "minicmd",
];

/// The boot loader's files.
pub struct Grub {
    /// 440 bytes of boot code for sector 0.
    pub boot_code: [u8; 440],
    /// What follows in the BIOS boot partition.
    pub core: Vec<u8>,
    /// The UEFI program.
    pub efi: PathBuf,
}

/// Makes the boot loader for a BIOS boot partition that begins at `core_lba` (in sectors).
pub fn make(core_lba: u64) -> Result<Grub> {
    let dir = crate::paths::output().join("grub");
    fs::create_dir_all(&dir)?;
    // Finds the shared boot environment. No comments in it: the parser inside the image takes none.
    let early = dir.join("early.cfg");
    fs::copy(crate::paths::os_image().join("grub/early.cfg"), &early).context("copying grub/early.cfg")?;
    let core_file = dir.join("core.img");
    mkimage("i386-pc", &early, &core_file, &["biosdisk"])?;
    let efi = dir.join("bootx64.efi");
    mkimage("x86_64-efi", &early, &efi, &[])?;
    let boot = fs::read("/usr/lib/grub/i386-pc/boot.img").context("reading GRUB's boot.img")?;
    let mut core = fs::read(&core_file)?;
    let boot_code = boot_code(&boot, core_lba)?;
    point_core_at(&mut core, core_lba)?;
    Ok(Grub { boot_code, core, efi })
}

fn mkimage(format: &str, early: &Path, out: &Path, more: &[&str]) -> Result<()> {
    let mut command = Command::new("grub-mkimage");
    command.args(["-O", format, "-p", "/grub", "-c"]).arg(early).arg("-o").arg(out);
    process::run(command.args(MODULES).args(more))
}

/// GRUB's boot sector reads one sector of the core image; its address stands at 0x5c
/// (`GRUB_BOOT_MACHINE_KERNEL_SECTOR`). The two bytes at 0x66 (`GRUB_BOOT_MACHINE_DRIVE_CHECK`) are a jump
/// over a check for floppy drives; as no-ops they let the check repair a BIOS that passes a wrong drive.
fn boot_code(boot: &[u8], core_lba: u64) -> Result<[u8; 440]> {
    let mut code: [u8; 440] =
        boot.get(..440).and_then(|b| b.try_into().ok()).context("GRUB's boot.img is too short")?;
    code[0x5c..0x64].copy_from_slice(&core_lba.to_le_bytes());
    code[0x66..0x68].copy_from_slice(&[0x90, 0x90]);
    Ok(code)
}

/// The core's first sector ends in a list of the blocks to read next (`grub_pc_bios_boot_blocklist`):
/// first sector (8 bytes), length (2), load segment (2). grub-mkimage knows all but the first sector.
fn point_core_at(core: &mut Vec<u8>, core_lba: u64) -> Result<()> {
    if core.len() <= SECTOR {
        bail!("GRUB's core image is too short");
    }
    core.resize(core.len().next_multiple_of(SECTOR), 0);
    let sectors = u16::try_from(core.len() / SECTOR - 1).context("GRUB's core image is too long")?;
    core[SECTOR - 12..SECTOR - 4].copy_from_slice(&(core_lba + 1).to_le_bytes());
    core[SECTOR - 4..SECTOR - 2].copy_from_slice(&sectors.to_le_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boot_code_points_at_the_core() {
        let code = boot_code(&[0; 512], 2048).unwrap();
        assert_eq!(code[0x5c..0x64], 2048u64.to_le_bytes());
    }

    #[test]
    fn the_core_reads_its_other_sectors_from_behind_its_first() {
        let mut core = vec![0; 3 * SECTOR + 1];
        point_core_at(&mut core, 100).unwrap();
        assert_eq!(core.len(), 4 * SECTOR);
        assert_eq!(core[SECTOR - 12..SECTOR - 4], 101u64.to_le_bytes());
        assert_eq!(core[SECTOR - 4..SECTOR - 2], 3u16.to_le_bytes());
    }
}
