//! Mounts a container's root file system as containerd's snapshotter describes it, below the bundle.

use std::path::Path;

use containerd_shim_protos::api::Mount;
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags,
    UnmountFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount,
    mount_change, mount_remount, move_mount, unmount,
};

use crate::error::{Context, Error, Result, shown};

const MAX_MOUNTS: usize = 64;
const MAX_OPTIONS: usize = 1024;
/// mount(2) takes one page of options.
const MAX_DATA_BYTES: usize = 4095;

/// Options split into what the kernel wants apart.
#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    flags: Vec<&'static str>,
    bind: bool,
    recursive: bool,
    read_only: bool,
    propagation: Option<&'static str>,
    data: Vec<String>,
}

/// Mounts all of them onto `target`, in order.
///
/// # Errors
/// Names the mount that failed.
pub fn mount_all(mounts: &[Mount], target: &Path) -> Result<()> {
    if mounts.len() > MAX_MOUNTS {
        return Err(Error::Invalid(format!(
            "{} mounts make the root file system: at most {MAX_MOUNTS}",
            mounts.len()
        )));
    }
    for entry in mounts {
        if !entry.target.is_empty() {
            return Err(Error::Unsupported(format!(
                "a mount below the root file system, at {}",
                shown(&entry.target)
            )));
        }
        let what = || format!("mount {} {} on {}", entry.type_, shown(&entry.source), target.display());
        mount_one(entry, target).context(what)?;
    }
    Ok(())
}

/// Undoes every mount on `target`. Nothing mounted there is not an error.
///
/// # Errors
/// The kernel refused.
pub fn unmount_all(target: &Path) -> Result<()> {
    for _ in 0..=MAX_MOUNTS {
        match unmount(target, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
            Ok(()) => {}
            Err(Errno::INVAL | Errno::NOENT) => return Ok(()),
            Err(error) => return Err(error).context(|| format!("unmount {}", target.display())),
        }
    }
    Ok(())
}

fn parse(options: &[String]) -> std::result::Result<Options, Errno> {
    if options.len() > MAX_OPTIONS {
        return Err(Errno::TOOBIG);
    }
    let mut parsed = Options::default();
    for option in options {
        match option.as_str() {
            "" | "rw" | "defaults" => {}
            "ro" => parsed.read_only = true,
            "bind" => parsed.bind = true,
            "rbind" => (parsed.bind, parsed.recursive) = (true, true),
            "nosuid" => parsed.flags.push("nosuid"),
            "nodev" => parsed.flags.push("nodev"),
            "noexec" => parsed.flags.push("noexec"),
            "noatime" => parsed.flags.push("noatime"),
            "relatime" => parsed.flags.push("relatime"),
            "private" => parsed.propagation = Some("private"),
            "rprivate" => parsed.propagation = Some("rprivate"),
            "slave" => parsed.propagation = Some("slave"),
            "rslave" => parsed.propagation = Some("rslave"),
            // What it means only concerns mount(8).
            other if other.starts_with("x-") => {}
            other => parsed.data.push(other.to_owned()),
        }
    }
    Ok(parsed)
}

impl Options {
    fn mount_flags(&self) -> MountFlags {
        let mut flags = MountFlags::empty();
        for flag in &self.flags {
            flags |= match *flag {
                "nosuid" => MountFlags::NOSUID,
                "nodev" => MountFlags::NODEV,
                "noexec" => MountFlags::NOEXEC,
                "noatime" => MountFlags::NOATIME,
                _ => MountFlags::RELATIME,
            };
        }
        if self.read_only {
            flags |= MountFlags::RDONLY;
        }
        flags
    }

    fn attributes(&self) -> MountAttrFlags {
        let mut flags = MountAttrFlags::empty();
        for flag in &self.flags {
            flags |= match *flag {
                "nosuid" => MountAttrFlags::MOUNT_ATTR_NOSUID,
                "nodev" => MountAttrFlags::MOUNT_ATTR_NODEV,
                "noexec" => MountAttrFlags::MOUNT_ATTR_NOEXEC,
                "noatime" => MountAttrFlags::MOUNT_ATTR_NOATIME,
                _ => MountAttrFlags::MOUNT_ATTR_RELATIME,
            };
        }
        if self.read_only {
            flags |= MountAttrFlags::MOUNT_ATTR_RDONLY;
        }
        flags
    }
}

fn mount_one(entry: &Mount, target: &Path) -> std::result::Result<(), Errno> {
    let options = parse(&entry.options)?;
    let data = options.data.join(",");
    if options.bind || entry.type_ == "bind" {
        let recursive = if options.recursive { MountFlags::REC } else { MountFlags::empty() };
        mount(entry.source.as_str(), target, "", MountFlags::BIND | recursive, None)?;
        // Flags of a bind mount only take effect in a second step (mount(2)).
        if !options.mount_flags().is_empty() {
            mount_remount(target, MountFlags::BIND | options.mount_flags(), "")?;
        }
    } else if data.len() > MAX_DATA_BYTES {
        mount_long(entry, target, &options)?;
    } else {
        let data = std::ffi::CString::new(data).map_err(|_| Errno::INVAL)?;
        mount(
            entry.source.as_str(),
            target,
            entry.type_.as_str(),
            options.mount_flags(),
            Some(data.as_c_str()),
        )?;
    }
    match options.propagation {
        None => Ok(()),
        Some(kind) => {
            let recursive = if kind.starts_with('r') {
                MountPropagationFlags::REC
            } else {
                MountPropagationFlags::empty()
            };
            let kind = if kind.ends_with("slave") {
                MountPropagationFlags::DOWNSTREAM
            } else {
                MountPropagationFlags::PRIVATE
            };
            mount_change(target, kind | recursive)
        }
    }
}

/// An image of many layers has more `lowerdir` text than mount(2) takes; fsconfig(2) takes one layer at a
/// time (`lowerdir+`, overlayfs since Linux 6.5).
fn mount_long(entry: &Mount, target: &Path, options: &Options) -> std::result::Result<(), Errno> {
    let context = fsopen(entry.type_.as_str(), FsOpenFlags::FSOPEN_CLOEXEC)?;
    if !entry.source.is_empty() {
        fsconfig_set_string(&context, "source", entry.source.as_str())?;
    }
    for option in &options.data {
        match option.split_once('=') {
            Some(("lowerdir", layers)) if entry.type_ == "overlay" => {
                for layer in split_layers(layers) {
                    fsconfig_set_string(&context, "lowerdir+", layer.as_str())?;
                }
            }
            Some((key, value)) => fsconfig_set_string(&context, key, value)?,
            None => fsconfig_set_flag(&context, option.as_str())?,
        }
    }
    fsconfig_create(&context)?;
    let mounted = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, options.attributes())?;
    move_mount(&mounted, "", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

/// Layers are separated by `:`; a colon within a name is written `\:`.
fn split_layers(text: &str) -> Vec<String> {
    let mut layers = vec![String::new()];
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => {
                if let (Some(next), Some(layer)) = (characters.next(), layers.last_mut()) {
                    layer.push(next);
                }
            }
            ':' => layers.push(String::new()),
            other => {
                if let Some(layer) = layers.last_mut() {
                    layer.push(other);
                }
            }
        }
    }
    layers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(text: &[&str]) -> Vec<String> {
        text.iter().map(|&option| option.to_owned()).collect()
    }

    #[test]
    fn options_are_sorted_by_who_wants_them() {
        let parsed =
            parse(&options(&["rbind", "ro", "nosuid", "rprivate", "lowerdir=/a:/b", "x-y"])).unwrap();
        assert!(parsed.bind && parsed.recursive && parsed.read_only);
        assert_eq!(parsed.propagation, Some("rprivate"));
        assert_eq!(parsed.data, ["lowerdir=/a:/b"]);
        assert_eq!(parsed.mount_flags(), MountFlags::RDONLY | MountFlags::NOSUID);
    }

    #[test]
    fn layers_may_contain_escaped_colons() {
        assert_eq!(split_layers("/a:/b\\:c:/d"), ["/a", "/b:c", "/d"]);
    }

    #[test]
    fn mounts_beside_the_root_and_floods_are_refused() {
        let below = Mount { target: "/etc".into(), ..Default::default() };
        assert!(mount_all(&[below], Path::new("/nonexistent")).is_err());
        assert!(mount_all(&vec![Mount::default(); 65], Path::new("/nonexistent")).is_err());
        assert!(unmount_all(Path::new("/nonexistent")).is_ok());
    }

    /// Needs root, as all of this crate does.
    #[test]
    fn an_overlay_of_a_hundred_layers_is_mounted() {
        assert!(rustix::process::geteuid().is_root(), "needs root");
        let folder = tempfile::tempdir().unwrap();
        let layers: Vec<String> = (0..100)
            .map(|number| {
                let layer = folder.path().join(format!("layer-with-a-rather-long-name-{number:03}"));
                std::fs::create_dir(&layer).unwrap();
                std::fs::write(layer.join(number.to_string()), "").unwrap();
                layer.display().to_string()
            })
            .collect();
        let target = folder.path().join("target");
        std::fs::create_dir(&target).unwrap();
        let entry = Mount {
            type_: "overlay".into(),
            source: "overlay".into(),
            options: vec![format!("lowerdir={}", layers.join(":"))],
            ..Default::default()
        };
        mount_all(&[entry], &target).unwrap();
        let count = std::fs::read_dir(&target).unwrap().count();
        unmount_all(&target).unwrap();
        assert_eq!(count, 100);
        assert_eq!(std::fs::read_dir(&target).unwrap().count(), 0);
    }
}
