//! Long runs: many rounds of what a test only samples, taken up again where they were interrupted.

use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// How far a long run got; kept in `FOLDER/NAME.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Name of the long run.
    pub name: String,
    /// `running`, `passed` or `failed`.
    pub result: String,
    /// Seed of payloads and choices.
    pub seed: u64,
    /// Rounds wanted.
    pub wanted: u32,
    /// Rounds done.
    pub done: u32,
    /// The image, by its length and time of last change.
    pub image: String,
    /// What went wrong, if anything did.
    pub detail: String,
}

/// The long runs of one folder.
pub struct Soak {
    folder: PathBuf,
    seed: u64,
    image: String,
}

impl Soak {
    /// Long runs of an image, with their progress in `folder`.
    pub fn new(folder: &Path, seed: u64, image: &Path) -> Result<Soak> {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let about = std::fs::metadata(image).with_context(|| format!("cannot see {}", image.display()))?;
        let changed = about.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let image = format!("{} bytes, changed {}", about.len(), changed.map_or(0, |since| since.as_secs()));
        Ok(Soak { folder: folder.to_owned(), seed, image })
    }

    /// Does the rounds that an earlier, interrupted run of the same image left; all of them otherwise.
    /// `round` gets the seed of the run and the number of the round, from 1.
    pub fn rounds(
        &self,
        name: &str,
        wanted: u32,
        mut round: impl FnMut(u64, u32) -> Result<()>,
    ) -> Result<u32> {
        let mut progress = self.resume(name, wanted);
        if progress.done > 0 {
            println!("                  {name}: {} of {wanted} rounds were done earlier", progress.done);
        }
        println!("                  {name}: seed {}", progress.seed);
        for number in progress.done + 1..=wanted {
            if let Err(error) = round(progress.seed, number) {
                progress.result = "failed".to_owned();
                progress.detail = format!("round {number}: {error:#}");
                self.save(&progress)?;
                return Err(error).with_context(|| format!("round {number} of {wanted}"));
            }
            progress.done = number;
            self.save(&progress)?;
            if number % 10 == 0 {
                println!("                  {name}: {number} of {wanted} rounds");
            }
        }
        Ok(wanted)
    }

    /// Records how a long run ended; one that failed is not taken up again but begun anew.
    pub fn finish(&self, name: &str, outcome: &Result<String>) -> Result<()> {
        let Some(mut progress) = self.load(name) else { return Ok(()) };
        (progress.result, progress.detail) = match outcome {
            Ok(detail) => ("passed".to_owned(), detail.clone()),
            Err(error) => ("failed".to_owned(), format!("{error:#}")),
        };
        self.save(&progress)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.json"))
    }

    fn load(&self, name: &str) -> Option<Progress> {
        serde_json::from_slice(&std::fs::read(self.path(name)).ok()?).ok()
    }

    fn resume(&self, name: &str, wanted: u32) -> Progress {
        let fits =
            |old: &Progress| old.result == "running" && old.wanted == wanted && old.image == self.image;
        self.load(name).filter(fits).unwrap_or_else(|| Progress {
            name: name.to_owned(),
            result: "running".to_owned(),
            seed: self.seed,
            wanted,
            done: 0,
            image: self.image.clone(),
            detail: String::new(),
        })
    }

    /// Writes beside and renames, so that an interruption leaves the old or the new file.
    fn save(&self, progress: &Progress) -> Result<()> {
        let path = self.path(&progress.name);
        let fresh = path.with_extension("new");
        let text = serde_json::to_string_pretty(progress).context("cannot write progress as JSON")?;
        std::fs::write(&fresh, text + "\n")
            .and_then(|()| std::fs::rename(&fresh, &path))
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soak(folder: &Path, seed: u64) -> Soak {
        let image = folder.join("image");
        if !image.exists() {
            std::fs::write(&image, b"image").unwrap();
        }
        Soak::new(&folder.join("soak"), seed, &image).unwrap()
    }

    #[test]
    fn an_interrupted_run_goes_on_where_it_stopped_with_its_seed() {
        let folder = tempfile::tempdir().unwrap();
        let interrupted = std::panic::catch_unwind(|| {
            soak(folder.path(), 7).rounds("links", 5, |_, number| {
                assert_ne!(number, 4, "interrupted");
                Ok(())
            })
        });
        assert!(interrupted.is_err());
        let mut rounds = Vec::new();
        let again = soak(folder.path(), 8);
        let done = again.rounds("links", 5, |seed, number| {
            rounds.push((seed, number));
            Ok(())
        });
        assert_eq!((done.unwrap(), rounds), (5, vec![(7, 4), (7, 5)]));
        again.finish("links", &Ok(String::new())).unwrap();
        assert_eq!(again.load("links").unwrap().result, "passed");
    }

    #[test]
    fn a_run_that_failed_or_passed_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        let first = soak(folder.path(), 1);
        assert!(
            first
                .rounds("links", 3, |_, number| {
                    anyhow::ensure!(number < 2, "broken");
                    Ok(())
                })
                .is_err()
        );
        assert_eq!(first.load("links").unwrap().result, "failed");
        let mut rounds = 0;
        soak(folder.path(), 2)
            .rounds("links", 3, |seed, _| {
                assert_eq!(seed, 2);
                rounds += 1;
                Ok(())
            })
            .unwrap();
        assert_eq!(rounds, 3);
    }
}
