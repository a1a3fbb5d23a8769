//! The bill of materials in CycloneDX 1.5: Debian packages, kernel source and Rust crates of the image.

use std::collections::BTreeSet;

use anyhow::Result;
use serde_json::{Value, json};

use crate::base::Base;
use crate::binaries;
use crate::packages::Lock;
use crate::process;

/// The document.
pub fn document(base: &Base, lock: &Lock, release: &str) -> Result<Value> {
    let mut components: Vec<Value> = base
        .components
        .iter()
        .map(|c| {
            let mut value = debian(&c.name, &c.version, &c.sha256, &c.homepage, release, "library");
            value["description"] = json!(c.why);
            value
        })
        .collect();
    if let Some(pin) = lock.get(crate::kernel::SOURCE_PACKAGE) {
        let home = "https://www.kernel.org/";
        components.push(debian(
            crate::kernel::SOURCE_PACKAGE,
            &pin.version,
            &pin.sha256,
            home,
            release,
            "operating-system",
        ));
    }
    components.extend(crates()?);
    Ok(json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": format!("urn:uuid:{}", crate::layout::identifier(&base.key)),
        "version": 1,
        "metadata": {
            "component": {
                "type": "firmware",
                "bom-ref": "corten",
                "name": "corten",
                "version": env!("CARGO_PKG_VERSION"),
                "licenses": [{ "license": { "id": "Apache-2.0" } }],
            },
        },
        "components": components,
    }))
}

fn debian(name: &str, version: &str, sha256: &str, homepage: &str, release: &str, kind: &str) -> Value {
    let purl = format!(
        "pkg:deb/debian/{name}@{}?arch=amd64&distro={release}",
        version.replace('+', "%2B").replace('~', "%7E")
    );
    let mut value = json!({
        "type": kind,
        "bom-ref": purl,
        "name": name,
        "version": version,
        "purl": purl,
        "hashes": [{ "alg": "SHA-256", "content": sha256 }],
    });
    if !homepage.is_empty() {
        value["externalReferences"] = json!([{ "type": "website", "url": homepage }]);
    }
    value
}

/// The crates linked into our programs, as cargo resolves them for the target.
fn crates() -> Result<Vec<Value>> {
    let mut command = process::cargo();
    command.args([
        "tree",
        "--locked",
        "--edges",
        "normal,no-proc-macro",
        "--prefix",
        "none",
        "--format",
        "{p}\t{l}",
    ]);
    for package in binaries::packages() {
        command.args(["--package", package]);
    }
    let text = process::output(&mut command)?;
    let unique: BTreeSet<&str> = text.lines().map(|line| line.trim_end_matches(" (*)")).collect();
    Ok(unique.into_iter().filter_map(one_crate).collect())
}

fn one_crate(line: &str) -> Option<Value> {
    let (package, license) = line.split_once('\t')?;
    let mut words = package.split(' ');
    let name = words.next()?;
    let version = words.next()?.strip_prefix('v')?;
    let purl = format!("pkg:cargo/{name}@{version}");
    let license = license.trim_end_matches(" (*)");
    Some(json!({
        "type": "library",
        "bom-ref": purl,
        "name": name,
        "version": version,
        "purl": purl,
        "licenses": [{ "expression": license.replace('/', " OR ") }],
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_line_becomes_a_component() {
        let value = one_crate("serde v1.0.1\tMIT/Apache-2.0").unwrap();
        assert_eq!(value["purl"], "pkg:cargo/serde@1.0.1");
        assert_eq!(value["licenses"][0]["expression"], "MIT OR Apache-2.0");
    }

    #[test]
    fn versions_are_escaped_in_package_urls() {
        let value = debian("udev", "257+1~deb", "ab", "", "trixie", "library");
        assert_eq!(value["purl"], "pkg:deb/debian/udev@257%2B1%7Edeb?arch=amd64&distro=trixie");
    }
}
