//! The OCI runtime specification of a bundle (`config.json`). Only what the shim looks at is interpreted;
//! everything else passes through to the OCI runtime untouched.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde_json::{Value, json};

use crate::error::{Context, Error, Result};

/// Largest document read. containerd's are a few kilobytes.
const MAX_DOCUMENT_BYTES: u64 = 4 << 20;

/// Where a container's namespace of some type comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Namespace {
    /// The host's.
    Host,
    /// Made for the container.
    New,
    /// An existing one, by path.
    Joined(String),
}

/// A runtime specification.
#[derive(Clone, Debug)]
pub struct Spec {
    document: Value,
}

impl Spec {
    /// Reads `config.json` of a bundle.
    ///
    /// # Errors
    /// It cannot be read, is too large, or is not a JSON object.
    pub fn load(bundle: &Path) -> Result<Self> {
        let path = bundle.join("config.json");
        let text = read_bounded(&path, MAX_DOCUMENT_BYTES)?;
        Self::parse(&text).map_err(|error| Error::Invalid(format!("{}: {error}", path.display())))
    }

    fn parse(text: &[u8]) -> std::result::Result<Self, String> {
        let document: Value = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        if !document.is_object() {
            return Err("not a JSON object".into());
        }
        Ok(Spec { document })
    }

    /// Writes the document back to the bundle, atomically.
    ///
    /// # Errors
    /// The file system's.
    pub fn save(&self, bundle: &Path) -> Result<()> {
        write_atomically(&bundle.join("config.json"), self.document.to_string().as_bytes())
    }

    /// Annotations; entries that are not text are left out.
    pub fn annotations(&self) -> BTreeMap<String, String> {
        let Some(map) = self.document.get("annotations").and_then(Value::as_object) else {
            return BTreeMap::new();
        };
        map.iter().filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
    }

    /// Whether the document describes a virtual machine.
    pub fn has_vm_section(&self) -> bool {
        self.document.get("vm").is_some_and(|section| !section.is_null())
    }

    /// Where the namespace of a type (`network`, `pid`) comes from.
    pub fn namespace(&self, kind: &str) -> Namespace {
        let list = self.document.pointer("/linux/namespaces").and_then(Value::as_array);
        let entry =
            list.into_iter().flatten().find(|entry| entry.get("type").and_then(Value::as_str) == Some(kind));
        match entry {
            None => Namespace::Host,
            Some(entry) => match entry.get("path").and_then(Value::as_str) {
                None | Some("") => Namespace::New,
                Some(path) => Namespace::Joined(path.to_owned()),
            },
        }
    }

    /// The cgroup the document asks for.
    #[cfg(test)]
    pub fn cgroups_path(&self) -> Option<&str> {
        self.document.pointer("/linux/cgroupsPath").and_then(Value::as_str)
    }

    /// Puts the container into another cgroup.
    pub fn set_cgroups_path(&mut self, path: &str) {
        let Some(document) = self.document.as_object_mut() else { return };
        let linux = document.entry("linux").or_insert_with(|| json!({}));
        if !linux.is_object() {
            *linux = json!({});
        }
        if let Some(linux) = linux.as_object_mut() {
            linux.insert("cgroupsPath".into(), Value::String(path.into()));
        }
    }
}

/// Reads a regular file of at most `limit` bytes.
///
/// # Errors
/// The file system's, or the file is larger.
pub fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let open = || format!("read {}", path.display());
    let file = File::open(path).context(open)?;
    let mut text = Vec::new();
    file.take(limit + 1).read_to_end(&mut text).context(open)?;
    if text.len() as u64 > limit {
        return Err(Error::Invalid(format!("{} is larger than {limit} bytes", path.display())));
    }
    Ok(text)
}

/// Replaces a file so that a reader sees the old or the new content, never part of it.
///
/// # Errors
/// The file system's.
pub fn write_atomically(path: &Path, content: &[u8]) -> Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".new");
    let temporary = path.with_file_name(name);
    let mut file = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .context(|| format!("create {}", temporary.display()))?;
    file.write_all(content).context(|| format!("write {}", temporary.display()))?;
    std::fs::rename(&temporary, path).context(|| format!("replace {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(text: &str) -> Spec {
        Spec::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn namespaces_are_told_apart() {
        let spec = spec(
            r#"{"linux":{"namespaces":[{"type":"pid"},{"type":"network","path":"/run/netns/a"},{"type":"ipc","path":""}]}}"#,
        );
        assert_eq!(spec.namespace("pid"), Namespace::New);
        assert_eq!(spec.namespace("ipc"), Namespace::New);
        assert_eq!(spec.namespace("network"), Namespace::Joined("/run/netns/a".into()));
        assert_eq!(spec.namespace("mount"), Namespace::Host);
    }

    #[test]
    fn rerooting_keeps_the_rest_of_the_document() {
        let mut spec = spec(r#"{"process":{"args":["x"]},"linux":{"cgroupsPath":"/default/a","x":1}}"#);
        spec.set_cgroups_path("/services.slice/y/task");
        assert_eq!(spec.cgroups_path(), Some("/services.slice/y/task"));
        assert_eq!(spec.document["linux"]["x"], 1);
        assert_eq!(spec.document["process"]["args"][0], "x");
    }

    #[test]
    fn rerooting_copes_with_odd_documents() {
        for text in ["{}", r#"{"linux":null}"#, r#"{"linux":[]}"#, r#"{"annotations":[1],"linux":7}"#] {
            let mut spec = spec(text);
            spec.set_cgroups_path("/a");
            assert_eq!(spec.cgroups_path(), Some("/a"));
            assert!(spec.annotations().is_empty());
            assert_eq!(spec.namespace("pid"), Namespace::Host);
        }
        assert!(Spec::parse(b"[]").is_err());
        assert!(Spec::parse(b"").is_err());
    }

    #[test]
    fn oversized_documents_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        std::fs::write(&path, vec![b' '; 100]).unwrap();
        assert!(read_bounded(&path, 99).is_err());
        assert_eq!(read_bounded(&path, 100).unwrap().len(), 100);
    }
}
