//! A private apt root: packages of the pinned release, fetched and verified by the host's apt, from the
//! mirrors the host itself is configured with, without touching the host's own package state.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::cache;
use crate::packages::{Lock, Pin};
use crate::process;
use crate::progress::Step;

/// The .deb files of a build.
pub struct Fetched {
    /// Pin and file of each package.
    pub lock: Lock,
    dir: PathBuf,
}

impl Fetched {
    /// The .deb file of a package.
    pub fn file(&self, name: &str) -> Result<PathBuf> {
        let pin = self.lock.get(name).with_context(|| format!("package {name} was not fetched"))?;
        Ok(self.dir.join(file_name(pin)))
    }

    /// Names of packages that are not what the lock file pins: their version was no longer offered.
    pub fn unlocked(&self, pinned: &Lock) -> Vec<String> {
        let differs = |(name, pin): &(&String, &Pin)| pinned.get(*name) != Some(*pin);
        self.lock.iter().filter(differs).map(|(name, _)| name.clone()).collect()
    }
}

fn file_name(pin: &Pin) -> String {
    format!("{}.deb", pin.sha256)
}

/// Makes every named package present in the cache and answers where. With all of them cached at their
/// pinned versions, no network is needed.
pub fn fetch(release: &str, names: &[&str], pinned: &Lock, locked: bool) -> Result<Fetched> {
    let dir = crate::paths::cache()?.join("debs");
    fs::create_dir_all(&dir)?;
    let mut fetched = Fetched { lock: Lock::new(), dir };
    let mut wanted = Vec::new();
    for name in names {
        match pinned.get(*name) {
            Some(pin) if fetched.dir.join(file_name(pin)).exists() => {
                fetched.lock.insert((*name).to_owned(), pin.clone());
            }
            _ => wanted.push(*name),
        }
    }
    if wanted.is_empty() {
        return Ok(fetched);
    }
    let root = Root::prepare(release)?;
    let offered = root.versions(&wanted)?;
    let mut chosen = BTreeMap::new();
    for name in wanted {
        let versions = offered.get(name).with_context(|| format!("the release has no package {name}"))?;
        let version = choose(name, versions, pinned.get(name), locked)?;
        chosen.insert(name, version);
    }
    for (name, file) in root.download(&chosen)? {
        let found = Pin { version: chosen[name.as_str()].clone(), sha256: cache::sha256_of(&file)? };
        if let Some(pin) = pinned.get(&name)
            && pin.version == found.version
            && pin.sha256 != found.sha256
        {
            bail!(
                "{name} {}: the mirror's file has SHA-256 {}, the lock says {}",
                pin.version,
                found.sha256,
                pin.sha256
            );
        }
        fs::rename(&file, fetched.dir.join(file_name(&found)))?;
        fetched.lock.insert(name, found);
    }
    Ok(fetched)
}

/// The pinned version while it is offered, else its successor, by name; with `locked` nothing else will do.
fn choose(name: &str, offered: &[String], pin: Option<&Pin>, locked: bool) -> Result<String> {
    let newest = offered.first().with_context(|| format!("the release has no package {name}"))?;
    match pin {
        Some(pin) if offered.contains(&pin.version) => Ok(pin.version.clone()),
        Some(pin) if locked => bail!("{name} {} is no longer offered (--locked)", pin.version),
        Some(pin) => {
            eprintln!("{name} {} is gone from the mirror; taking {newest}", pin.version);
            Ok(newest.clone())
        }
        None => Ok(newest.clone()),
    }
}

/// A folder with apt's configuration and state for one release.
struct Root {
    dir: PathBuf,
}

impl Root {
    fn prepare(release: &str) -> Result<Self> {
        let dir = crate::paths::cache()?.join("apt").join(release);
        for sub in ["state/lists/partial", "cache/archives/partial", "etc/empty", "download"] {
            fs::create_dir_all(dir.join(sub))?;
        }
        fs::write(dir.join("state/status"), "")?;
        fs::write(dir.join("etc/corten.sources"), sources(release)?)?;
        let root = Self { dir };
        root.write_configuration()?;
        let step = Step::begin("Reading the package index", 0);
        process::run(root.apt("apt-get").args(["-q", "update"]))?;
        step.done(release);
        Ok(root)
    }

    fn write_configuration(&self) -> Result<()> {
        let dir = self.dir.display();
        let text = format!(
            "Dir::State \"{dir}/state\";\nDir::State::status \"{dir}/state/status\";\n\
             Dir::Cache \"{dir}/cache\";\nDir::Etc::sourcelist \"{dir}/etc/corten.sources\";\n\
             Dir::Etc::sourceparts \"{dir}/etc/empty\";\nDir::Etc::preferences \"{dir}/etc/none\";\n\
             Dir::Etc::preferencesparts \"{dir}/etc/empty\";\nAPT::Architecture \"amd64\";\n\
             APT::Architectures {{ \"amd64\"; }};\nAPT::Sandbox::User \"\";\n\
             Acquire::Languages \"none\";\nAcquire::Retries \"3\";\n\
             Acquire::IndexTargets::deb::DEP-11::DefaultEnabled \"false\";\n\
             Acquire::IndexTargets::deb::CNF::DefaultEnabled \"false\";\n"
        );
        fs::write(self.dir.join("etc/apt.conf"), text).context("writing the private apt configuration")
    }

    fn apt(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("APT_CONFIG", self.dir.join("etc/apt.conf")).env("LC_ALL", "C");
        command
    }

    /// The versions the mirrors offer of each package, newest first.
    fn versions(&self, names: &[&str]) -> Result<BTreeMap<String, Vec<String>>> {
        let text = process::output(self.apt("apt-cache").arg("madison").args(names))?;
        let mut offered: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for line in text.lines() {
            let mut fields = line.split('|').map(str::trim);
            if let (Some(name), Some(version), Some(origin)) = (fields.next(), fields.next(), fields.next())
                && !origin.ends_with("Sources")
            {
                offered.entry(name.to_owned()).or_default().push(version.to_owned());
            }
        }
        Ok(offered)
    }

    /// Downloads packages at the chosen versions and answers the file of each.
    fn download(&self, chosen: &BTreeMap<&str, String>) -> Result<BTreeMap<String, PathBuf>> {
        let dir = self.dir.join("download");
        for old in fs::read_dir(&dir)? {
            fs::remove_file(old?.path())?;
        }
        let mut command = self.apt("apt-get");
        command.current_dir(&dir).args(["-q", "download"]);
        command.args(chosen.iter().map(|(name, version)| format!("{name}={version}")));
        let mut step = Step::begin("Fetching packages", chosen.len() as u64);
        let mut count = 0;
        process::lines(&command, |line| {
            count += u64::from(line.starts_with("Get:"));
            step.at(count.saturating_sub(1), line.split(' ').nth(4).unwrap_or_default());
        })?;
        step.done(&format!("{} packages", chosen.len()));
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(&dir)? {
            let path = entry?.path();
            let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            files.insert(file.split('_').next().unwrap_or_default().to_owned(), path);
        }
        match chosen.keys().find(|name| !files.contains_key(**name)) {
            None => Ok(files),
            Some(name) => bail!("apt-get brought no file for {name}"),
        }
    }
}

/// Sources of `release` on the mirrors the host's apt is configured with, checked by the same keyring.
fn sources(release: &str) -> Result<String> {
    let format = "$(REPO_URI)\t$(SOURCESENTRY)";
    let mut command = Command::new("apt-get");
    command.args(["indextargets", "--format", format, "Created-By: Packages"]);
    let text = process::output(&mut command)?;
    let mut main = None;
    let mut security = None;
    for line in text.lines() {
        let Some((uri, entry)) = line.split_once('\t') else { continue };
        let place = if uri.trim_end_matches('/').ends_with("security") { &mut security } else { &mut main };
        // The host may have other vendors' repositories: Debian's end in "debian".
        if uri.trim_end_matches('/').rsplit('/').next().is_some_and(|last| last.starts_with("debian")) {
            place.get_or_insert_with(|| (uri.to_owned(), keyring(entry)));
        }
    }
    let (uri, key) = main.context(
        "the host's apt names no Debian mirror; add one to /etc/apt/sources.list.d and run apt-get update",
    )?;
    let mut out = stanza(&uri, &[release.to_owned(), format!("{release}-updates")], &key);
    if let Some((uri, key)) = security {
        out.push_str(&stanza(&uri, &[format!("{release}-security")], &key));
    }
    Ok(out)
}

/// The keyring that a source entry (`FILE:LINE`) names, else the distribution's own, else none: apt then
/// asks its trusted keys.
fn keyring(entry: &str) -> String {
    let file = entry.rsplit_once(':').map_or(entry, |(file, _)| file);
    let text = fs::read_to_string(file).unwrap_or_default();
    let stated = text.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let stanza = line.strip_prefix("Signed-By:");
        let option = || line.split_once("signed-by=").map(|(_, rest)| rest);
        stanza.or_else(option)?.split([' ', ']']).find(|word| word.starts_with('/')).map(str::to_owned)
    });
    let own = "/usr/share/keyrings/debian-archive-keyring.gpg";
    stated.unwrap_or_else(|| if Path::new(own).exists() { own.to_owned() } else { String::new() })
}

fn stanza(uri: &str, suites: &[String], key: &str) -> String {
    let signed = if key.is_empty() { String::new() } else { format!("Signed-By: {key}\n") };
    format!("Types: deb\nURIs: {uri}\nSuites: {}\nComponents: main\n{signed}\n", suites.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stanza_names_mirror_suites_and_key() {
        let text =
            stanza("http://mirror.example/debian/", &["trixie".into(), "trixie-updates".into()], "/k.gpg");
        assert_eq!(
            text,
            "Types: deb\nURIs: http://mirror.example/debian/\nSuites: trixie trixie-updates\n\
             Components: main\nSigned-By: /k.gpg\n\n"
        );
    }
}
