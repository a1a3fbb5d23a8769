//! The documents that are printed in the manual.

use std::path::Path;

/// The pages, from this crate's folder.
const PAGES: [&str; 2] = ["../README.md", "../os-image/rootfs/usr/share/man/man5/switch.toml.5"];

/// The examples of all pages, as a reader would copy them.
pub fn of_the_manual() -> Vec<String> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let of_page = |page: &str| {
        let text = std::fs::read_to_string(here.join(page)).expect("a page");
        let found = of_text(&text);
        assert!(!found.is_empty(), "{page} has no example");
        found
    };
    PAGES.into_iter().flat_map(of_page).collect()
}

/// Each begins with a line `version = 1`, and ends before the next macro of mdoc or line with less indentation.
fn of_text(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let starts = lines.iter().enumerate().filter(|(_, line)| line.trim_start() == "version = 1");
    starts
        .map(|(start, line)| {
            let indent = &line[..line.len() - line.trim_start().len()];
            let inside = |line: &&&str| line.is_empty() || line.starts_with(indent) && !line.starts_with('.');
            let block = lines[start..].iter().take_while(inside);
            let block: Vec<&str> = block.map(|line| line.strip_prefix(indent).unwrap_or_default()).collect();
            format!("{}\n", block.join("\n").trim_end())
        })
        .collect()
}
