//! Frames in a file that other readers know (pcap, draft-ietf-opsawg-pcap).

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};

use crate::wire::Captured;

/// Times are in seconds and microseconds.
const MAGIC: u32 = 0xa1b2_c3d4;
const VERSION: [u16; 2] = [2, 4];
/// No frame is longer.
const LIMIT_BYTES: u32 = 262_144;
const LINKTYPE_ETHERNET: u32 = 1;

/// Writes captured frames, the times of which count from the first.
pub fn write(path: &Path, frames: &[Captured]) -> Result<()> {
    std::fs::write(path, contents(frames)).with_context(|| format!("cannot write {}", path.display()))
}

fn contents(frames: &[Captured]) -> Vec<u8> {
    let mut file = Vec::new();
    file.extend(MAGIC.to_le_bytes());
    VERSION.iter().for_each(|number| file.extend(number.to_le_bytes()));
    // Two fields that are no longer used.
    file.extend([0; 8]);
    file.extend(LIMIT_BYTES.to_le_bytes());
    file.extend(LINKTYPE_ETHERNET.to_le_bytes());
    let began = frames.first().map_or_else(Instant::now, |frame| frame.at);
    for frame in frames {
        let time = frame.at.saturating_duration_since(began);
        let bytes = frame.bytes.len() as u32;
        // The frame as it is in the file, and as it was on the wire.
        for field in [time.as_secs() as u32, time.subsec_micros(), bytes, bytes] {
            file.extend(field.to_le_bytes());
        }
        file.extend(&*frame.bytes);
    }
    file
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn file_has_each_frame_behind_its_time_and_length() {
        let at = Instant::now();
        let frame =
            |after, bytes: &[u8]| Captured { at: at + Duration::from_micros(after), bytes: bytes.into() };
        let file = contents(&[frame(0, b"abc"), frame(2_000_003, b"d")]);
        assert_eq!(file.len(), 24 + 16 + 3 + 16 + 1);
        assert_eq!(&file[40..43], b"abc");
        assert_eq!(file[43..59], [2, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0]);
    }
}
