//! What is wrong with a configuration: where, what, and what to do about it.
//!
//! A problem never holds the text of a secret: whoever reports one for a place where secrets stand leaves the value out.

use std::cell::RefCell;
use std::fmt;

use serde::Serialize;

use super::SecretRef;
use super::secret::Form;

/// A place in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file, as the command line and `include` name it.
    pub file: String,
    /// Counted from 1; 0 means the file as a whole.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    /// The dotted key: `accounts.acme.moengage.keys[0]`.
    pub key: String,
}

/// One mistake, or one thing to be warned of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file, as the command line and `include` name it.
    pub file: String,
    /// Counted from 1; 0 means the file as a whole.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    /// The dotted key; empty where the file itself is the problem.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub fix: String,
}

impl Problem {
    /// A problem at this place.
    #[must_use]
    pub fn at(place: Place, message: impl Into<String>, fix: impl Into<String>) -> Self {
        let Place { file, line, column, key } = place;
        Self { file, line, column, key, message: message.into(), fix: fix.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.message)?;
        if !self.fix.is_empty() {
            write!(f, "; {}", self.fix)?;
        }
        Ok(())
    }
}

/// Why a configuration cannot be used: everything that was found, in the order of the files and lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems {
    /// What must be mended; at least one.
    pub errors: Vec<Problem>,
    /// What works, and is not good.
    pub warnings: Vec<Problem>,
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.errors.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// A secret that the configuration refers to, and where.
#[derive(Clone, Debug)]
pub struct SecretUse {
    /// Where the reference stands.
    pub place: Place,
    /// The reference.
    pub secret: SecretRef,
    /// What its text must be.
    pub form: Form,
}

/// Where everything that is found on the way is gathered.
#[derive(Debug, Default)]
pub(super) struct Sink {
    errors: RefCell<Vec<Problem>>,
    warnings: RefCell<Vec<Problem>>,
    secrets: RefCell<Vec<SecretUse>>,
}

impl Sink {
    pub(super) fn error(&self, problem: Problem) {
        self.errors.borrow_mut().push(problem);
    }

    pub(super) fn warning(&self, problem: Problem) {
        self.warnings.borrow_mut().push(problem);
    }

    pub(super) fn secret(&self, secret: SecretUse) {
        self.secrets.borrow_mut().push(secret);
    }

    /// What was gathered, the problems in the order of `files` and lines.
    pub(super) fn into_parts(self, files: &[String]) -> (Problems, Vec<SecretUse>) {
        let order = |problem: &Problem| {
            let file = files.iter().position(|name| *name == problem.file).unwrap_or(files.len());
            (file, problem.line, problem.column)
        };
        let mut errors = self.errors.into_inner();
        errors.sort_by_key(order);
        let mut warnings = self.warnings.into_inner();
        warnings.sort_by_key(order);
        (Problems { errors, warnings }, self.secrets.into_inner())
    }
}
