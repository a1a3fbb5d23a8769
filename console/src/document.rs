//! Configuration documents from files and from standard input.

use std::fs::File;
use std::io::{self, Read};

use netd_api::config::MAX_DOCUMENT_BYTES;
use netd_api::diagnostic::Diagnostic;

/// What a text is called that was typed or pasted on the screens.
pub const TYPED: &str = "the text";

/// The most bytes read: what netd takes.
const MAX_BYTES: u64 = MAX_DOCUMENT_BYTES as u64;

/// A document and the name to call it by.
#[derive(Clone, Debug)]
pub struct Document {
    /// File name for messages; `stdin` for standard input.
    pub name: String,
    /// Its text; where it was not UTF-8, what could be read.
    pub text: String,
    /// Where the bytes stop being UTF-8.
    pub broken: Option<Diagnostic>,
}

/// Where documents may come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sources {
    /// Standard input, and files of any kind, pipes included.
    Any,
    /// Regular files only: the screens must not wait for a writer.
    RegularFiles,
}

/// Reads a document; `-` is standard input where that is allowed.
///
/// # Errors
/// A sentence for the user: the file cannot be read, or it is too long.
pub fn read(file: &str, sources: Sources) -> Result<Document, String> {
    let (name, bytes) = match (file, sources) {
        ("-", Sources::Any) => ("stdin", read_bounded(io::stdin().lock())),
        ("-", Sources::RegularFiles) => {
            return Err("standard input is the keyboard here: `:apply -` takes a paste, `:edit` edits".into());
        }
        _ => (file, open(file, sources).and_then(read_bounded)),
    };
    let name = crate::text::clean(name);
    match bytes {
        Ok(bytes) => Ok(decode(name, bytes)),
        Err(error) => Err(format!("{name}: {error}")),
    }
}

fn open(file: &str, sources: Sources) -> io::Result<File> {
    // Asked before opening: opening a FIFO waits for its writer.
    let kind = std::fs::metadata(file)?.file_type();
    if kind.is_dir() {
        return Err(io::Error::other("is a directory"));
    }
    if sources == Sources::RegularFiles && !kind.is_file() {
        return Err(io::Error::other("is not a regular file"));
    }
    File::open(file)
}

fn read_bounded(from: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(io::Error::other(format!("longer than {MAX_BYTES} bytes")));
    }
    Ok(bytes)
}

fn decode(name: String, bytes: Vec<u8>) -> Document {
    match String::from_utf8(bytes) {
        Ok(text) => Document { name, text, broken: None },
        Err(error) => {
            let valid = error.utf8_error().valid_up_to();
            let bytes = error.into_bytes();
            let start = String::from_utf8_lossy(&bytes[..valid]);
            let line = start.matches('\n').count() + 1;
            let column = start.chars().rev().take_while(|c| *c != '\n').count() + 1;
            let broken = Diagnostic {
                line: u32::try_from(line).unwrap_or(u32::MAX),
                column: u32::try_from(column).unwrap_or(u32::MAX),
                path: String::new(),
                message: "not UTF-8 text".into(),
            };
            Document { name, text: String::from_utf8_lossy(&bytes).into_owned(), broken: Some(broken) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_text_are_named_by_line_and_column() {
        let document = decode("f".into(), b"version = 1\nname = \"\xff\"\n".to_vec());
        let broken = document.broken.unwrap();
        assert_eq!((broken.line, broken.column), (2, 9));
        assert_eq!(broken.message, "not UTF-8 text");
    }

    #[test]
    fn unreadable_files_are_named() {
        assert!(
            read("/nonexistent/switch.toml", Sources::Any)
                .unwrap_err()
                .starts_with("/nonexistent/switch.toml: ")
        );
        assert!(read("/", Sources::Any).unwrap_err().contains("is a directory"));
        assert!(read("-", Sources::RegularFiles).unwrap_err().contains("takes a paste"));
    }

    #[test]
    fn endless_input_is_refused() {
        assert!(read("/dev/zero", Sources::Any).unwrap_err().contains("longer than"));
        assert!(read("/dev/zero", Sources::RegularFiles).unwrap_err().contains("regular"));
    }
}
