//! `-info`: describes this runtime to containerd 2.0 and later.

use std::io::Write;

use containerd_shim_protos::protobuf::{Message, MessageField};
use containerd_shim_protos::types::introspection::{RuntimeInfo, RuntimeVersion};

use crate::error::{Context, Error, Result};

/// Prints the description, a protobuf `RuntimeInfo`.
///
/// # Errors
/// Standard output is closed.
pub fn run() -> Result<()> {
    let info = RuntimeInfo {
        name: "io.containerd.corten.v1".into(),
        version: MessageField::some(RuntimeVersion {
            version: env!("CARGO_PKG_VERSION").into(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let bytes = info.write_to_bytes().map_err(|error| Error::failed("encode the description", error))?;
    std::io::stdout().write_all(&bytes).context(|| "print the description".to_owned())
}
