//! Records of attachments on disk: one JSON file each, for this boot.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use super::{MAX_ATTACHMENTS, Record, check_request};
use crate::store::write_atomically;

fn path(folder: &Path, port: &str) -> PathBuf {
    folder.join(format!("{port}.json"))
}

/// All records that can be read, by key. A file that cannot is named in the log and removed: its port is
/// not known then, and its service attaches again.
pub fn load(folder: &Path) -> BTreeMap<String, Record> {
    let mut records = BTreeMap::new();
    let Ok(entries) = fs::read_dir(folder) else {
        return records;
    };
    for entry in entries.flatten().take(2 * MAX_ATTACHMENTS) {
        let path = entry.path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        match read(&path) {
            Ok(record) => {
                records.insert(record.key.clone(), record);
            }
            Err(reason) => {
                tracing::warn!("{}: dropped: {reason}", path.display());
                let _ = fs::remove_file(&path);
            }
        }
    }
    records
}

fn read(path: &Path) -> Result<Record, String> {
    let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
    let record: Record = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    let expected = check_request(&netd_api::attach::AttachRequest {
        key: record.key.clone(),
        interface: record.interface.clone(),
        untagged_vlan: record.untagged_vlan,
        tagged_vlans: record.tagged_vlans.clone(),
        ..netd_api::attach::AttachRequest::default()
    })?;
    if expected.port == record.port {
        Ok(record)
    } else {
        Err("the port does not belong to the key".to_owned())
    }
}

/// Writes a record.
pub fn save(folder: &Path, record: &Record) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let text = serde_json::to_vec_pretty(record)?;
    write_atomically(&path(folder, &record.port), &text, 0o644)
}

/// Removes a record; one that is gone is no error.
pub fn remove(folder: &Path, record: &Record) -> io::Result<()> {
    match fs::remove_file(path(folder, &record.port)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
