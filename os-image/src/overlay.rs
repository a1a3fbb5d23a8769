//! The root tree: base system, our files, kernel modules and programs, and what is generated at build time.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use walkdir::WalkDir;

use crate::base::Base;
use crate::binaries::Binaries;
use crate::cache;
use crate::elf;
use crate::kernel::Kernel;
use crate::process;
use crate::progress::Step;

/// Empty folders of the root: mount points, and places programs expect.
const FOLDERS: &[&str] =
    &["boot", "data", "dev", "etc", "home", "mnt", "opt", "proc", "root", "run", "srv", "sys", "tmp", "var"];

/// Names the static busybox answers to in the image, where no other package brings the program.
const BUSYBOX_SKIP: &[&str] =
    &["busybox", "init", "linuxrc", "dpkg", "dpkg-deb", "rpm", "rpm2cpio", "login", "su", "passwd"];

/// Builds the root tree and answers its folder.
pub fn compose(base: &Base, kernel: &Kernel, binaries: &Binaries) -> Result<PathBuf> {
    let root = crate::paths::output().join("root");
    let step = Step::begin("Composing the root", 0);
    cache::clear_folder(&root)?;
    process::run(Command::new("cp").args(["-a", "--link"]).arg(&base.dir).arg(&root))?;
    for name in FOLDERS {
        fs::create_dir_all(root.join(name))?;
    }
    lay_over(&crate::paths::os_image().join("rootfs"), &root)?;
    for (name, file) in &binaries.files {
        place(file, &root.join("usr/bin").join(name), 0o755)?;
    }
    platforms(&root)?;
    busybox(&root)?;
    modules(kernel, &root)?;
    generated(&root)?;
    release_file(&root)?;
    system_users(&root)?;
    man_page(&root)?;
    elf::check_libraries(&root)?;
    refuse_forbidden(&root)?;
    step.done(&size_text(&root)?);
    Ok(root)
}

/// Copies a file over whatever is there. The tree below is hard-linked: nothing in it is written in place.
fn place(from: &Path, to: &Path, mode: u32) -> Result<()> {
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent)?;
    }
    cache::clear_file(to)?;
    fs::copy(from, to).with_context(|| format!("copying {} to {}", from.display(), to.display()))?;
    fs::set_permissions(to, fs::Permissions::from_mode(mode))?;
    Ok(())
}

/// Writes a file anew, for the same reason.
fn write(path: &Path, text: &str, mode: u32) -> Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    cache::clear_file(path)?;
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    Ok(())
}

/// Copies a folder of ours over a root.
pub fn lay_over(from: &Path, root: &Path) -> Result<()> {
    for entry in WalkDir::new(from).sort_by_file_name() {
        let entry = entry?;
        let target = root.join(entry.path().strip_prefix(from).unwrap_or(entry.path()));
        if entry.file_type().is_dir() {
            fs::create_dir_all(&target)?;
        } else if entry.file_type().is_symlink() {
            cache::clear_file(&target)?;
            symlink(fs::read_link(entry.path())?, &target)?;
        } else {
            let executable = entry.metadata()?.permissions().mode() & 0o111 != 0;
            place(entry.path(), &target, if executable { 0o755 } else { 0o644 })?;
        }
    }
    Ok(())
}

fn platforms(root: &Path) -> Result<()> {
    for entry in fs::read_dir(crate::paths::os_image().join("platforms")).context("reading platforms")? {
        let entry = entry?;
        place(&entry.path(), &root.join("usr/lib/corten/platforms").join(entry.file_name()), 0o644)?;
    }
    Ok(())
}

/// Links the applets of busybox that nothing else provides.
fn busybox(root: &Path) -> Result<()> {
    let program = root.join("usr/bin/busybox");
    let applets = process::output(Command::new(&program).arg("--list"))?;
    for applet in applets.lines().filter(|applet| !BUSYBOX_SKIP.contains(applet)) {
        let there =
            ["usr/bin", "usr/sbin"].iter().any(|dir| root.join(dir).join(applet).symlink_metadata().is_ok());
        if !there {
            symlink("busybox", root.join("usr/bin").join(applet))?;
        }
    }
    Ok(())
}

fn modules(kernel: &Kernel, root: &Path) -> Result<()> {
    let archive = kernel.dir.join("modules.tar.zst");
    let decoder = zstd::Decoder::new(
        fs::File::open(&archive).with_context(|| format!("opening {}", archive.display()))?,
    )?;
    tar::Archive::new(decoder).unpack(root.join("usr")).context("unpacking the kernel modules")?;
    process::run(Command::new("/usr/sbin/depmod").arg("-b").arg(root).arg(&kernel.release))
}

fn generated(root: &Path) -> Result<()> {
    // Empty: systemd makes a transient one each boot over the read-only /etc, unless the firmware has one.
    write(&root.join("etc/machine-id"), "", 0o444)?;
    for (link, target) in [
        ("etc/mtab", "../proc/self/mounts"),
        ("etc/localtime", "../usr/share/zoneinfo/UTC"),
        ("etc/resolv.conf", "../run/corten/resolv.conf"),
    ] {
        let path = root.join(link);
        cache::clear_file(&path)?;
        symlink(target, path)?;
    }
    Ok(())
}

fn release_file(root: &Path) -> Result<()> {
    let version = env!("CARGO_PKG_VERSION");
    let text = format!(
        "NAME=\"Corten\"\nID=corten\nID_LIKE=debian\nPRETTY_NAME=\"Corten {version}\"\nVERSION_ID={version}\n\
         VERSION=\"{version}\"\nANSI_COLOR=\"38;5;130\"\n"
    );
    write(&root.join("usr/lib/os-release"), &text, 0o644)?;
    let link = root.join("etc/os-release");
    cache::clear_file(&link)?;
    symlink("../usr/lib/os-release", link)?;
    Ok(())
}

/// A program of the image, run on the build host by the image's own loader and libraries.
fn of_image(root: &Path, program: &str) -> Command {
    let lib = root.join("usr/lib/x86_64-linux-gnu");
    let mut path = lib.clone().into_os_string();
    path.push(":");
    path.push(lib.join("systemd"));
    let mut command = Command::new(root.join("usr/lib64/ld-linux-x86-64.so.2"));
    command.arg("--library-path").arg(path).arg(root.join(program));
    command
}

/// Makes the system users with the image's own systemd-sysusers.
fn system_users(root: &Path) -> Result<()> {
    for name in ["etc/passwd", "etc/group", "etc/shadow", "etc/gshadow"] {
        let file = root.join(name);
        if file.exists() {
            // sysusers rewrites them; they must be this tree's own.
            let text = fs::read_to_string(&file)?;
            write(&file, &text, if name.ends_with("shadow") { 0o640 } else { 0o644 })?;
        }
    }
    process::run(of_image(root, "usr/bin/systemd-sysusers").arg(format!("--root={}", root.display())))?;
    for name in ["etc/passwd-", "etc/group-", "etc/shadow-", "etc/gshadow-", "etc/.pwd.lock"] {
        let file = root.join(name);
        cache::clear_file(&file)?;
    }
    Ok(())
}

/// The console writes its own manual, so that it never differs from what the program does.
fn man_page(root: &Path) -> Result<()> {
    let page = process::output(of_image(root, "usr/bin/corten").arg("man"))?;
    write(&root.join("usr/share/man/man1/corten.1"), &page, 0o644)
}

/// Programs that must not be in the image, whatever brought them.
fn refuse_forbidden(root: &Path) -> Result<()> {
    let forbidden = ["apt", "apt-get", "dpkg", "perl", "bash", "gcc", "cc", "ld", "python3"];
    for name in forbidden {
        for dir in ["usr/bin", "usr/sbin"] {
            let path = root.join(dir).join(name);
            if path.symlink_metadata().is_ok() {
                bail!("{} must not be in the image", path.display());
            }
        }
    }
    Ok(())
}

/// What a root takes on a disk, in words.
pub fn size_text(root: &Path) -> Result<String> {
    let mut sizes: BTreeMap<(u64, u64), u64> = BTreeMap::new();
    for entry in WalkDir::new(root) {
        use std::os::unix::fs::MetadataExt;
        let meta = entry?.metadata()?;
        if meta.is_file() {
            sizes.insert((meta.dev(), meta.ino()), meta.len());
        }
    }
    Ok(format!("{} MB unpacked", sizes.values().sum::<u64>() / 1_000_000))
}
