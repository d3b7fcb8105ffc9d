//! References to secrets, as they stand in the files: `{ file }`, `{ env }`, `{ command }`, `{ value }`.
//!
//! Says where a secret may come from, never reads one: a secret that is not there yet is no mistake.

use std::fmt;
use std::path::{Component, Path, PathBuf};

use secrecy::SecretString;

use super::Key;
use super::reader::{Table, Value};
use super::secret::Form;

/// Where a secret's value is. Printing it shows the reference, never the value.
#[derive(Clone)]
pub enum SecretRef {
    /// In a file; the path is absolute.
    File(PathBuf),
    /// In a file that must resolve, after symbolic links, below a directory: `[secrets] root` and the tenant.
    FileBelow {
        /// The file; the path is absolute.
        path: PathBuf,
        /// The directory; the path is absolute.
        root: PathBuf,
    },
    /// In an environment variable.
    Env(String),
    /// On the standard output of a command.
    Command(Vec<String>),
    /// In the configuration itself.
    Value(SecretString),
}

impl fmt::Debug for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) | Self::FileBelow { path, .. } => write!(f, "file {}", path.display()),
            Self::Env(name) => write!(f, "env {name}"),
            Self::Command(argv) => write!(f, "command {}", argv.first().map_or("", String::as_str)),
            Self::Value(_) => f.write_str("value (hidden)"),
        }
    }
}

const FORMS: &str = "write { file = \"path\" } or { env = \"NAME\" }";

/// What a reference may be, depending on where it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope<'a> {
    /// What paths are relative to.
    pub(super) directory: &'a Path,
    /// The directory below which it must resolve: `[secrets] root` and the tenant.
    pub(super) below: Option<&'a Path>,
}

/// The reference at this value, which must be a table of it and nothing else.
pub(super) fn reference(value: &Value<'_>, scope: Scope<'_>, form: Form) -> Option<SecretRef> {
    let mut table = value.table_or(FORMS)?;
    let secret = of_table(value, &mut table, scope);
    table.finish();
    let secret = secret?;
    value.note_secret(&secret, form);
    Some(secret)
}

/// One or two keys, each a reference that may have a name.
pub(super) fn keys(value: &Value<'_>, scope: Scope<'_>, form: Form) -> Vec<Key> {
    let Some(items) = value.items() else { return Vec::new() };
    if items.is_empty() || items.len() > 2 {
        value.refuse(
            format!("{} keys do not fit here", items.len()),
            "list one key, or two while one replaces the other: the current and the next",
        );
    }
    items.iter().filter_map(|item| key(item, scope, form)).collect()
}

fn key(value: &Value<'_>, scope: Scope<'_>, form: Form) -> Option<Key> {
    let mut table = value.table_or(FORMS)?;
    let name = table.take("name").and_then(|name| name.filled().map(str::to_owned));
    let secret = of_table(value, &mut table, scope);
    table.finish();
    let secret = secret?;
    value.note_secret(&secret, form);
    Some(Key { name, secret, form })
}

fn of_table(value: &Value<'_>, table: &mut Table<'_>, scope: Scope<'_>) -> Option<SecretRef> {
    let forms = [table.take("file"), table.take("env"), table.take("command"), table.take("value")];
    if forms.iter().flatten().count() != 1 {
        value.refuse("a secret has exactly one of file, env, command and value", FORMS);
        return None;
    }
    let included = table.included();
    let [file, env, command, inline] = forms;
    if let Some(file) = file {
        return in_file(&file, scope);
    }
    if let Some(env) = env {
        return in_env(&env, scope);
    }
    if let Some(command) = command {
        return of_command(&command, scope, included);
    }
    inline.and_then(|inline| in_place(&inline))
}

fn in_file(value: &Value<'_>, scope: Scope<'_>) -> Option<SecretRef> {
    let path = normal(&scope.directory.join(value.filled()?));
    let Some(root) = scope.below else { return Some(SecretRef::File(path)) };
    let resolved = path.canonicalize().ok().zip(root.canonicalize().ok());
    let below = resolved.map_or_else(|| path.starts_with(root), |(path, root)| path.starts_with(root));
    if !below {
        value.refuse(
            "this file is outside of the tenant's directory of secrets",
            format!("[secrets] root is set: put it below {}", root.display()),
        );
        return None;
    }
    Some(SecretRef::FileBelow { path, root: root.to_owned() })
}

fn in_env(value: &Value<'_>, scope: Scope<'_>) -> Option<SecretRef> {
    let name = value.filled()?;
    if scope.below.is_some() {
        value.refuse(
            "an included file may not read the environment when [secrets] root is set",
            "write { file = \"path\" }",
        );
        return None;
    }
    if name.contains('=') {
        value.refuse("this is not the name of a variable", "write the variable's name, not its value");
        return None;
    }
    Some(SecretRef::Env(name.to_owned()))
}

fn of_command(value: &Value<'_>, scope: Scope<'_>, included: bool) -> Option<SecretRef> {
    let mut argv = Vec::new();
    for item in value.items()? {
        argv.push(item.text()?.to_owned());
    }
    if included {
        value.refuse("a command may stand in the main file only", FORMS);
        return None;
    }
    match argv.first_mut() {
        Some(program) if !program.is_empty() => {
            if program.contains('/') {
                *program = normal(&scope.directory.join(&*program)).display().to_string();
            }
        }
        _ => {
            value.refuse(
                "this names no program",
                "write the program and its arguments: [\"/usr/bin/pass\", \"show\", \"key\"]",
            );
            return None;
        }
    }
    Some(SecretRef::Command(argv))
}

fn in_place(value: &Value<'_>) -> Option<SecretRef> {
    let text = value.text()?;
    value.warn("a secret stands in the configuration itself", FORMS);
    Some(SecretRef::Value(SecretString::from(text)))
}

/// The path without `.` and `..`, as far as that can be said without looking.
pub(super) fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                normal.pop();
            }
            other => normal.push(other),
        }
    }
    normal
}
