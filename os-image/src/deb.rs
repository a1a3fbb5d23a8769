//! Reading .deb archives without dpkg: an `ar` of a control tar and a data tar (deb(5)).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Component, Path};

use anyhow::{Context, Result, bail};

/// The fields of a package's control file that the build uses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Control {
    /// Field values by name, continuation lines joined.
    pub fields: BTreeMap<String, String>,
}

impl Control {
    fn parse(text: &str) -> Self {
        let mut fields = BTreeMap::new();
        let mut last: Option<String> = None;
        for line in text.lines() {
            if line.starts_with([' ', '\t']) {
                if let Some(value) = last.as_ref().and_then(|name| fields.get_mut(name)) {
                    let value: &mut String = value;
                    value.push('\n');
                    value.push_str(line.trim());
                }
            } else if let Some((name, value)) = line.split_once(':') {
                fields.insert(name.to_owned(), value.trim().to_owned());
                last = Some(name.to_owned());
            }
        }
        Self { fields }
    }

    /// A field, empty when absent.
    pub fn get(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }

    /// Names this package answers to: its own and what it provides.
    pub fn provides(&self) -> Vec<String> {
        let mut names = vec![self.get("Package").to_owned()];
        names.extend(relations(self.get("Provides")).into_iter().flatten());
        names
    }

    /// What it needs: a list of alternatives each.
    pub fn depends(&self) -> Vec<Vec<String>> {
        let mut all = relations(self.get("Pre-Depends"));
        all.extend(relations(self.get("Depends")));
        all
    }
}

/// Splits a relation field into groups of alternative package names, versions and qualifiers dropped.
fn relations(field: &str) -> Vec<Vec<String>> {
    let name = |text: &str| {
        let text = text.trim();
        let end = text.find([' ', '(', ':', '[']).unwrap_or(text.len());
        text[..end].to_owned()
    };
    field
        .split(',')
        .map(|group| group.split('|').map(name).filter(|n| !n.is_empty()).collect::<Vec<_>>())
        .filter(|group| !group.is_empty())
        .collect()
}

/// Reads the control file.
pub fn control(deb: &Path) -> Result<Control> {
    let mut text = None;
    member(deb, "control.tar", |tar| {
        for entry in tar.entries()? {
            let mut entry = entry?;
            if entry.path()?.as_ref() == Path::new("./control") {
                let mut content = String::new();
                entry.read_to_string(&mut content)?;
                text = Some(content);
            }
        }
        Ok(())
    })?;
    let text = text.with_context(|| format!("{} has no control file", deb.display()))?;
    Ok(Control::parse(&text))
}

/// Unpacks the data members for which `keep` says yes (asked with the path relative to the root).
pub fn unpack(deb: &Path, root: &Path, keep: &dyn Fn(&str) -> bool) -> Result<()> {
    member(deb, "data.tar", |tar| {
        for entry in tar.entries()? {
            let mut entry = entry?;
            let path = entry.path()?.into_owned();
            let inner = inside(&path)?;
            if inner.is_empty() || !keep(&inner) {
                continue;
            }
            entry.set_preserve_permissions(true);
            entry.set_preserve_mtime(true);
            unpack_entry(&mut entry, root, &inner).with_context(|| format!("unpacking /{inner}"))?;
        }
        Ok(())
    })
    .with_context(|| format!("unpacking {}", deb.display()))
}

fn unpack_entry<R: Read>(entry: &mut tar::Entry<'_, R>, root: &Path, inner: &str) -> Result<()> {
    let target = root.join(inner);
    if entry.header().entry_type().is_hard_link() {
        let link = entry.link_name()?.context("a hard link to nothing")?;
        let from = root.join(inside(&link)?);
        return std::fs::hard_link(from, target).context("hard link");
    }
    if entry.header().entry_type().is_dir() {
        // /bin, /lib and /sbin are links into /usr, so a folder may already be there by another name.
        if !target.is_dir() {
            std::fs::create_dir_all(&target)?;
        }
        return Ok(());
    }
    if let Some(parent) = target.parent() {
        std::fs::create_dir_all(parent)?;
    }
    entry.unpack(&target)?;
    Ok(())
}

/// A path inside the root as text; a path that would leave the root is refused.
fn inside(path: &Path) -> Result<String> {
    let mut parts = Vec::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => parts.push(name.to_str().context("a file name that is not UTF-8")?),
            Component::CurDir => {}
            _ => bail!("{} leaves the root", path.display()),
        }
    }
    Ok(parts.join("/"))
}

/// Hands the tar member whose name begins with `prefix` to `read`, decompressed by its ending.
fn member(
    deb: &Path,
    prefix: &str,
    read: impl FnOnce(&mut tar::Archive<Box<dyn Read + '_>>) -> Result<()>,
) -> Result<()> {
    let file = File::open(deb).with_context(|| format!("opening {}", deb.display()))?;
    let mut archive = ar::Archive::new(std::io::BufReader::new(file));
    while let Some(entry) = archive.next_entry() {
        let entry = entry?;
        let name = String::from_utf8_lossy(entry.header().identifier()).into_owned();
        if !name.starts_with(prefix) {
            continue;
        }
        let reader: Box<dyn Read> = match name.rsplit('.').next() {
            Some("xz") => Box::new(liblzma::read::XzDecoder::new(entry)),
            Some("zst") => Box::new(zstd::Decoder::new(entry)?),
            Some("gz") => Box::new(flate2::read::GzDecoder::new(entry)),
            Some("tar") => Box::new(entry),
            _ => bail!("{}: {name} has an unknown compression", deb.display()),
        };
        return read(&mut tar::Archive::new(reader));
    }
    bail!("{} has no member {prefix}", deb.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relations_lose_versions_and_keep_alternatives() {
        let parsed = relations("libc6 (>= 2.38), libssl3t64 | libssl3 (>= 3), python3:any");
        assert_eq!(parsed, [vec!["libc6"], vec!["libssl3t64", "libssl3"], vec!["python3"]]);
    }

    #[test]
    fn continuation_lines_belong_to_their_field() {
        let control = Control::parse("Package: a\nDescription: short\n long\nProvides: b (= 1), c\n");
        assert_eq!(control.get("Description"), "short\nlong");
        assert_eq!(control.provides(), ["a", "b", "c"]);
    }

    #[test]
    fn a_path_out_of_the_root_is_refused() {
        assert!(inside(Path::new("./usr/../../etc")).is_err());
        assert_eq!(inside(Path::new("./usr/bin/x")).unwrap(), "usr/bin/x");
    }
}
