//! Host tools: what the build and the virtual switch need, and how to get what is missing.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Whether the person agreed beforehand to installations.
pub struct Consent {
    /// `--yes` was given.
    pub yes: bool,
}

/// A Debian package of the host, a file by which its presence is told, and the reason it is needed.
struct Tool {
    package: &'static str,
    file: &'static str,
    why: &'static str,
}

const fn tool(package: &'static str, file: &'static str, why: &'static str) -> Tool {
    Tool { package, file, why }
}

const TOOLS: &[Tool] = &[
    tool("gcc", "/usr/bin/gcc", "compiles the kernel, links the programs"),
    tool("make", "/usr/bin/make", "builds the kernel"),
    tool("flex", "/usr/bin/flex", "builds the kernel's configuration tool"),
    tool("bison", "/usr/bin/bison", "builds the kernel's configuration tool"),
    tool("bc", "/usr/bin/bc", "kernel build"),
    tool("libelf-dev", "/usr/include/libelf.h", "kernel build (objtool)"),
    tool("libssl-dev", "/usr/include/openssl/opensslv.h", "kernel build (module signing)"),
    tool("xz-utils", "/usr/bin/xz", "unpacks the kernel source"),
    tool("zstd", "/usr/bin/zstd", "compresses the kernel"),
    tool("perl", "/usr/bin/perl", "kernel build scripts"),
    tool("kmod", "/usr/sbin/depmod", "indexes kernel modules"),
    tool("erofs-utils", "/usr/bin/mkfs.erofs", "makes the root file system"),
    tool("cryptsetup-bin", "/usr/sbin/veritysetup", "makes the root's hash tree"),
    tool("e2fsprogs", "/usr/sbin/mke2fs", "makes the boot and state file systems"),
    tool("dosfstools", "/usr/sbin/mkfs.vfat", "makes the EFI system partition"),
    tool("mtools", "/usr/bin/mcopy", "fills the EFI system partition"),
    tool("grub-common", "/usr/bin/grub-mkimage", "makes the boot loader"),
    tool("grub-pc-bin", "/usr/lib/grub/i386-pc/boot.img", "boot loader for BIOS"),
    tool("grub-efi-amd64-bin", "/usr/lib/grub/x86_64-efi/moddep.lst", "boot loader for UEFI"),
    tool("qemu-system-x86", "/usr/bin/qemu-system-x86_64", "the virtual switch"),
    tool("qemu-utils", "/usr/bin/qemu-img", "throw-away disks of the virtual switch"),
    tool("ovmf", "/usr/share/OVMF/OVMF_CODE.fd", "UEFI firmware of the virtual switch"),
    tool("openssh-client", "/usr/bin/ssh", "the tests log in as an operator"),
];

/// What the unit tests of the workspace need on the host beside [`TOOLS`].
const TEST_TOOLS: &[Tool] = &[
    tool("containerd", "/usr/bin/containerd", "the shim's tests drive the real containerd"),
    tool(
        "runc",
        "/usr/sbin/runc",
        "the shim's tests run real containers, also where control groups are of version 1",
    ),
    tool("busybox-static", "/bin/busybox", "what runs in those containers"),
    tool("dbus-daemon", "/usr/bin/dbus-daemon", "the clients' tests speak over a real bus"),
    tool("iproute2", "/usr/sbin/ip", "netd's tests look at the kernel with other eyes"),
    tool("ethtool", "/usr/sbin/ethtool", "and at what ports offer their partners"),
    tool("nftables", "/usr/sbin/nft", "netd's tests load the control-plane rules"),
    tool("systemd", "/usr/bin/systemd-analyze", "judges how closed the image's units are"),
];

/// Makes sure the tools of the build and the virtual switch are there.
pub fn ensure_build_tools(consent: &Consent) -> Result<()> {
    ensure(consent, TOOLS.iter(), ATTEMPTS)
}

/// What netd is measured beside.
const BENCH_TOOLS: &[Tool] = &[
    tool("iproute2", "/usr/sbin/ip", "netd is measured beside `ip -batch`"),
    tool("valgrind", "/usr/bin/valgrind", "counts the instructions of planning and encoding"),
];

/// Makes sure the tools of the measurements are there, too.
pub fn ensure_bench_tools(consent: &Consent) -> Result<()> {
    ensure(consent, TOOLS.iter().chain(BENCH_TOOLS), ATTEMPTS)
}

/// Makes sure the tools of the tests are there, too.
pub fn ensure_test_tools(consent: &Consent) -> Result<()> {
    ensure(consent, TOOLS.iter().chain(TEST_TOOLS), ATTEMPTS)
}

/// How often packages that were taken away by others are installed again.
const ATTEMPTS: u32 = 3;

fn ensure<'a>(consent: &Consent, tools: impl Iterator<Item = &'a Tool> + Clone, attempts: u32) -> Result<()> {
    let missing: Vec<&Tool> = tools.clone().filter(|tool| !Path::new(tool.file).exists()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    eprintln!("These host packages are missing:");
    for tool in &missing {
        eprintln!("  {:<20} {}", tool.package, tool.why);
    }
    let root = nix::unistd::geteuid().is_root();
    if !root && !consent.yes && !agreed()? {
        bail!("not installed; run again with --yes, or install them by hand");
    }
    install(&missing, root)?;
    match missing.iter().find(|tool| !Path::new(tool.file).exists()) {
        // To install one may remove another, of another release, which is then installed in turn.
        None if attempts > 0 => ensure(consent, tools, attempts - 1),
        None => {
            let names: Vec<&str> = missing.iter().map(|tool| tool.package).collect();
            bail!("packages of this host take each other away: {}", names.join(", "))
        }
        Some(tool) => bail!("{} was installed, but {} is still not there", tool.package, tool.file),
    }
}

fn agreed() -> Result<bool> {
    if !std::io::stdin().is_terminal() {
        return Ok(false);
    }
    eprint!("Install them with apt-get through sudo? [y/N] ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn install(missing: &[&Tool], root: bool) -> Result<()> {
    let apt = |args: &[&str]| -> Result<()> {
        let mut command = if root {
            Command::new("apt-get")
        } else {
            let mut sudo = Command::new("sudo");
            sudo.args(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]);
            sudo
        };
        command.env("DEBIAN_FRONTEND", "noninteractive").args(args);
        let status = command.status().context("starting apt-get")?;
        if !status.success() {
            bail!("apt-get {} failed ({status})", args.join(" "));
        }
        Ok(())
    };
    apt(&["update", "-q"])?;
    let mut args = vec!["install", "-y", "-q", "--no-install-recommends"];
    args.extend(missing.iter().map(|tool| tool.package));
    apt(&args)
}
