//! Reads the main file and what it includes, and joins them to one checked [`Config`].
//!
//! Never stops at the first mistake: a file that is not TOML ends itself only, and everything else is still checked.
//! Reads no secret and asks no broker.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use regex::Regex;
use toml::Spanned;
use toml::de::DeTable;

use super::account::{Surroundings, account};
use super::problem::{Place, Problem, Problems, SecretUse, Sink};
use super::reader::{File, Table};
use super::reference::{Scope, normal};
use super::{Account, Config, include, kafka, limits, sections};

/// A configuration that can be used.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What works, and is not good.
    pub warnings: Vec<Problem>,
    /// Every secret that is referred to, and where.
    pub secrets: Vec<SecretUse>,
}

/// The accounts of all files, as they are read.
#[derive(Default)]
struct Accounts {
    /// Where each name stands, also of those that are wrong.
    names: BTreeMap<String, Place>,
    /// The right ones, with the places of their names.
    read: Vec<(Place, Account)>,
}

/// A file and its tree, as far as it could be read, and whether that was all of it.
type Parsed<'a> = (&'a File, Spanned<DeTable<'a>>, bool);

/// Reads a configuration from its main file.
pub fn load(path: &Path) -> Result<Loaded, Problems> {
    let sink = Sink::default();
    let directory = match directory(path) {
        Ok(directory) => directory,
        Err(error) => return Err(unusable(path, &error)),
    };
    let main = match read(path, path.display().to_string(), false, &sink) {
        Ok(Some(main)) => main,
        Ok(None) => return Err(sink.into_parts(&[]).0),
        Err(error) => return Err(unusable(path, &error)),
    };
    let (tree, whole) = main.parse(&sink);
    let mut root = Table::root(&main, &sink, &tree);
    let relative = root.take("include").map(|value| include::files(&value, &directory, path)).unwrap_or_default();
    let files = included(path, &directory, &relative, &sink);
    let config = if whole { Some(main_sections(&mut root, &directory)) } else { None };
    let around = surroundings(config.as_ref().map(|(config, _)| config), &directory);

    let mut accounts = Accounts::default();
    if whole {
        accounts.take(&mut root, &around, &sink);
        root.finish();
    }
    let parsed: Vec<Parsed<'_>> = files.iter().map(|file| parse(file, &sink)).collect();
    for (file, tree, whole) in &parsed {
        let mut root = Table::root(file, &sink, tree);
        if *whole {
            accounts.take(&mut root, &around, &sink);
            refuse_sections(root);
        }
    }
    limits::check_groups(&accounts.read, &sink);
    let names: Vec<String> = std::iter::once(&main).chain(&files).map(|file| file.name.clone()).collect();
    let config = config.map(|(mut config, tenants)| {
        check_tenants(&accounts.read, &tenants, &main, &sink);
        check_loop(&config, &main, &sink);
        config.files.push(directory.join(path.file_name().unwrap_or_default()));
        config.files.extend(relative.iter().map(|relative| directory.join(relative)));
        config.accounts = accounts.read.into_iter().map(|(_, account)| account).collect();
        config
    });
    let (problems, secrets) = sink.into_parts(&names);
    match config {
        Some(config) if problems.errors.is_empty() => Ok(Loaded { config, warnings: problems.warnings, secrets }),
        _ => Err(problems),
    }
}

fn parse<'a>(file: &'a File, sink: &Sink) -> Parsed<'a> {
    let (tree, whole) = file.parse(sink);
    (file, tree, whole)
}

/// The main file's directory. Links are kept: a mounted configuration is replaced by changing one.
fn directory(path: &Path) -> io::Result<PathBuf> {
    let absolute = normal(&std::path::absolute(path)?);
    Ok(absolute.parent().map_or(absolute.clone(), Path::to_owned))
}

fn whole_file(file: String) -> Place {
    Place { file, line: 0, column: 0, key: String::new() }
}

fn unusable(path: &Path, error: &io::Error) -> Problems {
    let place = whole_file(path.display().to_string());
    let problem = match error.kind() {
        io::ErrorKind::NotFound => {
            let fix = "name the file with --config or FOREBAY_CONFIG, or copy config.toml from Forebay's repository";
            Problem::at(place, "this file does not exist", fix)
        }
        _ => Problem::at(place, format!("this file cannot be read: {error}"), "make it a file that this user may read"),
    };
    Problems { errors: vec![problem], warnings: Vec::new() }
}

/// Reads a file. `None`: it is not text, which is reported.
fn read(path: &Path, name: String, included: bool, sink: &Sink) -> io::Result<Option<File>> {
    let text = match String::from_utf8(std::fs::read(path)?) {
        Ok(text) => text,
        Err(error) => {
            let valid = error.utf8_error().valid_up_to();
            let before = String::from_utf8_lossy(&error.as_bytes()[..valid]).into_owned();
            let (line, column) = File::new(name.clone(), before, included).position(valid);
            let place = Place { file: name, line, column, key: String::new() };
            sink.error(Problem::at(place, "this is not UTF-8", "save the file as UTF-8"));
            return Ok(None);
        }
    };
    Ok(Some(File::new(name, text, included)))
}

fn included(main: &Path, directory: &Path, relative: &[PathBuf], sink: &Sink) -> Vec<File> {
    let mut files = Vec::new();
    for relative in relative {
        let name = main.parent().unwrap_or(Path::new("")).join(relative).display().to_string();
        match read(&directory.join(relative), name.clone(), true, sink) {
            Ok(file) => files.extend(file),
            Err(error) => {
                sink.error(Problem::at(
                    whole_file(name),
                    format!("this file cannot be read: {error}"),
                    "make it readable, or remove it",
                ));
            }
        }
    }
    files
}

/// Everything but the accounts, and the tenants that `[tenant] from` names.
fn main_sections(root: &mut Table<'_>, directory: &Path) -> (Config, Vec<(Place, String)>) {
    let scope = Scope { directory, below: None };
    let kafka = kafka::kafka(root, directory);
    let (tenant, tenants) = sections::tenant(root);
    let delivery = sections::delivery(root, directory);
    let memory = sections::memory(root);
    let (admin, control) = sections::admin(root, scope);
    let config = Config {
        files: Vec::new(),
        directory: directory.to_owned(),
        kafka,
        tenant,
        delivery,
        memory,
        drain: sections::drain(root),
        dead_letters: sections::dead_letters(root),
        control_topic: sections::control_topic(root),
        admin,
        control,
        secrets_root: sections::secrets_root(root, directory),
        accounts: Vec::new(),
    };
    (config, tenants)
}

fn surroundings<'a>(config: Option<&'a Config>, directory: &'a Path) -> Surroundings<'a> {
    Surroundings {
        directory,
        linger: config.map_or(Duration::ZERO, |config| config.delivery.linger),
        allow_hosts: config.map(|config| config.delivery.allow_hosts.as_slice()),
        secrets_root: config.and_then(|config| config.secrets_root.as_deref()),
    }
}

impl Accounts {
    fn take(&mut self, root: &mut Table<'_>, around: &Surroundings<'_>, sink: &Sink) {
        let Some(table) = root.table("accounts") else { return };
        for (place, name, value) in table.entries() {
            let account = account(&place, name, &value, around);
            if let Some(first) = self.names.get(name) {
                let message = format!("this account stands in {}:{} already", first.file, first.line);
                sink.error(Problem::at(place, message, "give one of them another name"));
                continue;
            }
            self.names.insert(name.to_owned(), place.clone());
            self.read.extend(account.map(|account| (place, account)));
        }
    }
}

/// Whatever an included file holds beside accounts.
fn refuse_sections(root: Table<'_>) {
    for (place, name, value) in root.entries() {
        if name != "accounts" {
            value.refuse_at(&place, "an included file holds [accounts.*] only", "move this to the main file");
        }
    }
}

fn check_tenants(accounts: &[(Place, Account)], tenants: &[(Place, String)], main: &File, sink: &Sink) {
    if accounts.is_empty() {
        let place = whole_file(main.name.clone());
        sink.warning(Problem::at(place, "there is no account, so no event goes anywhere", "add [accounts.NAME]"));
    }
    for (place, tenant) in tenants {
        if !accounts.iter().any(|(_, account)| account.tenant == *tenant) {
            let message = format!("no account has the tenant \"{tenant}\"");
            sink.warning(Problem::at(place.clone(), message, "give one of the accounts this tenant, or mend the name"));
        }
    }
}

/// Forebay must not read what it writes.
fn check_loop(config: &Config, main: &File, sink: &Sink) {
    let reads = |topic: &str| {
        let read = config.kafka.topics.iter().find(|read| match read.strip_prefix('^') {
            Some(_) => Regex::new(read).is_ok_and(|regex| regex.is_match(topic)),
            None => *read == topic,
        });
        read.cloned()
    };
    let written = [("dead_letters.topic", &config.dead_letters.topic), ("control.topic", &config.control_topic)];
    let by_key: BTreeMap<&str, &String> = written.into();
    for (key, topic) in &by_key {
        let place = Place { key: (*key).to_owned(), ..whole_file(main.name.clone()) };
        if let Some(read) = reads(topic) {
            let message = format!("kafka.topics reads \"{topic}\", which Forebay writes itself (by \"{read}\")");
            sink.error(Problem::at(place, message, "give it a name that kafka.topics does not match"));
        } else if *key == "control.topic" && **topic == config.dead_letters.topic {
            sink.error(Problem::at(place, "this is the topic of the dead letters, too", "give it a topic of its own"));
        }
    }
}

#[cfg(test)]
mod tests;
