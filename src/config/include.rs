//! Which files `include` names.
//!
//! Guarantees files only, none whose name begins with a dot, none that lies outside of the main file's directory after
//! symbolic links, each once, in the order of the globs and sorted within each.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use globset::{Glob, GlobMatcher};

use super::reader::Value;

/// A directory is never deeper than this below another one that `**` reads.
const MAX_DEPTH: usize = 16;

/// The files that match, relative to the directory. What is wrong with the globs is reported.
pub(super) fn files(include: &Value<'_>, directory: &Path, main: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut seen: BTreeSet<PathBuf> = main.canonicalize().into_iter().collect();
    let real_directory = directory.canonicalize().ok();
    for glob in include.items().unwrap_or_default() {
        for relative in expand(&glob, directory) {
            let Ok(real) = directory.join(&relative).canonicalize() else {
                glob.refuse(format!("{} leads nowhere", relative.display()), "mend the symbolic link or remove it");
                continue;
            };
            if real_directory.as_ref().is_some_and(|directory| !real.starts_with(directory)) {
                glob.refuse(
                    format!("{} leads out of the main file's directory", relative.display()),
                    "put the file itself there",
                );
            } else if seen.insert(real) {
                files.push(relative);
            }
        }
    }
    files
}

/// The files that one glob matches, sorted.
fn expand(glob: &Value<'_>, directory: &Path) -> Vec<PathBuf> {
    let Some(text) = glob.filled() else { return Vec::new() };
    if Path::new(text).is_absolute() || text.split('/').any(|part| part == "..") {
        glob.refuse("files are included from the main file's directory only", "write a path below it, without ..");
        return Vec::new();
    }
    let mut parts = Vec::new();
    for part in text.split('/').filter(|part| !matches!(*part, "" | ".")) {
        match Glob::new(part) {
            Ok(_) if part == "**" => parts.push(Part::Anywhere),
            Ok(matcher) => parts.push(Part::Named(matcher.compile_matcher())),
            Err(error) => {
                glob.refuse(format!("this is not a glob: {}", error.kind()), "write it like \"accounts.d/*.toml\"");
                return Vec::new();
            }
        }
    }
    let mut found = Vec::new();
    if let Err((path, error)) = walk(directory, Path::new(""), &parts, MAX_DEPTH, &mut found) {
        glob.refuse(format!("{} cannot be read: {error}", path.display()), "make it readable, or leave it out");
    }
    if found.is_empty() && !text.contains(['*', '?', '[', '{']) {
        glob.refuse(format!("\"{text}\" does not exist, or is not a file"), "mend the path, or leave it out");
    }
    found.sort();
    found.dedup();
    found
}

/// One part of a glob, between slashes.
enum Part {
    /// `**`
    Anywhere,
    /// A name, or a pattern for names.
    Named(GlobMatcher),
}

fn walk(
    directory: &Path,
    below: &Path,
    parts: &[Part],
    depth: usize,
    found: &mut Vec<PathBuf>,
) -> Result<(), (PathBuf, io::Error)> {
    let Some((part, rest)) = parts.split_first() else { return Ok(()) };
    if matches!(part, Part::Anywhere) {
        walk(directory, below, rest, depth, found)?;
    }
    let path = directory.join(below);
    let entries = match path.read_dir() {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err((path, error)),
    };
    for entry in entries {
        let entry = entry.map_err(|error| (path.clone(), error))?;
        let name = entry.file_name();
        if name.as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let is_directory = entry.path().is_dir();
        let next = below.join(&name);
        match part {
            // Links to directories are not followed here: they may lead round in a circle.
            Part::Anywhere if is_directory && depth > 0 && !entry.path().is_symlink() => {
                walk(directory, &next, parts, depth - 1, found)?;
            }
            Part::Named(matcher) if matcher.is_match(&name) => match (rest.is_empty(), is_directory) {
                (true, false) => found.push(next),
                (false, true) => walk(directory, &next, rest, depth, found)?,
                _ => {}
            },
            _ => {}
        }
    }
    Ok(())
}
