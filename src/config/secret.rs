//! Reads secrets where their references point.
//!
//! What comes out is not empty and visible ASCII, so that it fits into a header; errors name the reference and never
//! the content. Nothing is remembered: keys change without a restart, so whoever needs one reads it again.

use std::io::{self, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use super::SecretRef;

/// More than any key, and than any PEM with its chain.
const MAX_BYTES: u64 = 64 * 1024;

/// How long a command may take.
const COMMAND_TIME: Duration = Duration::from_secs(10);

/// What is wrong with a secret for its purpose, never with a word of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfit {
    /// Behind its reference: `is not base64`.
    pub why: &'static str,
    /// What to do.
    pub fix: &'static str,
}

/// What a secret's text must be.
#[derive(Clone, Copy, Debug)]
pub enum Form {
    /// Visible ASCII: it goes into a header.
    Key,
    /// A PEM text, which has line breaks.
    Pem,
    /// The same, and what this makes sure of.
    Also(fn(&SecretString) -> Result<(), Unfit>),
}

/// Why a secret could not be read. `reference` says which one: `file /run/secrets/acme`.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// It is not there.
    #[error("{reference} does not exist")]
    Missing {
        /// Which one.
        reference: String,
    },
    /// It is there, and cannot be read.
    #[error("{reference} cannot be read")]
    Unreadable {
        /// Which one.
        reference: String,
        /// What the system says.
        source: io::Error,
    },
    /// There is nothing in it.
    #[error("{reference} is empty")]
    Empty {
        /// Which one.
        reference: String,
    },
    /// It has spaces, line breaks or characters beyond ASCII.
    #[error("{reference} holds something else than visible ASCII characters")]
    NotVisible {
        /// Which one.
        reference: String,
    },
    /// It does not serve its purpose.
    #[error("{reference} {}", unfit.why)]
    Unfit {
        /// Which one.
        reference: String,
        /// What is wrong.
        unfit: Unfit,
    },
    /// It is larger than any secret.
    #[error("{reference} is larger than 64 KiB")]
    TooLarge {
        /// Which one.
        reference: String,
    },
    /// By symbolic links it leads out of the tenant's directory.
    #[error("{reference} leads out of the tenant's directory below [secrets] root")]
    Outside {
        /// Which one.
        reference: String,
    },
    /// The command ended with an error.
    #[error("{reference} failed: {status}")]
    Failed {
        /// Which one.
        reference: String,
        /// How it ended.
        status: ExitStatus,
    },
    /// The command took too long and was killed.
    #[error("{reference} took longer than 10 s")]
    TimedOut {
        /// Which one.
        reference: String,
    },
}

/// Reads a secret: one trailing newline is trimmed, the rest must be visible ASCII.
pub fn read(secret: &SecretRef) -> Result<SecretString, SecretError> {
    checked(secret, u8::is_ascii_graphic)
}

/// Reads a secret that is a PEM text: like [`read`], with spaces and line breaks.
pub fn read_pem(secret: &SecretRef) -> Result<SecretString, SecretError> {
    checked(secret, |byte| byte.is_ascii_graphic() || matches!(byte, b' ' | b'\n' | b'\r' | b'\t'))
}

/// Reads a secret of this form.
pub fn read_as(secret: &SecretRef, form: Form) -> Result<SecretString, SecretError> {
    match form {
        Form::Key => read(secret),
        Form::Pem => read_pem(secret),
        Form::Also(check) => {
            let text = read(secret)?;
            check(&text).map(|()| text).map_err(|unfit| SecretError::Unfit { reference: format!("{secret:?}"), unfit })
        }
    }
}

/// What may be shown of a secret: the first eight hexadecimal digits of its SHA-256.
#[must_use]
pub fn fingerprint(secret: &SecretString) -> String {
    let digest = Sha256::digest(secret.expose_secret().as_bytes());
    let first = digest.iter().take(4).fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
    format!("{first:08x}")
}

fn checked(secret: &SecretRef, allowed: impl Fn(&u8) -> bool) -> Result<SecretString, SecretError> {
    let reference = format!("{secret:?}");
    let bytes = bytes(secret, COMMAND_TIME)?;
    let text = bytes.strip_suffix(b"\n").map_or(&bytes[..], |line| line.strip_suffix(b"\r").unwrap_or(line));
    if text.iter().all(u8::is_ascii_whitespace) {
        return Err(SecretError::Empty { reference });
    }
    if !text.iter().all(allowed) {
        return Err(SecretError::NotVisible { reference });
    }
    str::from_utf8(text).map(SecretString::from).map_err(|_| SecretError::NotVisible { reference })
}

fn bytes(secret: &SecretRef, command_time: Duration) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    let reference = || format!("{secret:?}");
    match secret {
        SecretRef::File(path) => file(path, reference),
        SecretRef::FileBelow { path, root } => {
            let resolve = |path: &Path| path.canonicalize().map_err(|source| unreadable(reference(), source));
            let real = resolve(path)?;
            if !real.starts_with(resolve(root)?) {
                return Err(SecretError::Outside { reference: reference() });
            }
            file(&real, reference)
        }
        SecretRef::Env(name) => match std::env::var_os(name) {
            Some(value) => Ok(Zeroizing::new(value.into_encoded_bytes())),
            None => Err(SecretError::Missing { reference: reference() }),
        },
        SecretRef::Command(argv) => command(argv, command_time, reference),
        SecretRef::Value(value) => Ok(Zeroizing::new(value.expose_secret().as_bytes().to_vec())),
    }
}

fn unreadable(reference: String, source: io::Error) -> SecretError {
    match source.kind() {
        io::ErrorKind::NotFound => SecretError::Missing { reference },
        _ => SecretError::Unreadable { reference, source },
    }
}

fn file(path: &Path, reference: impl Fn() -> String) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    let fail = |source| unreadable(reference(), source);
    // A named pipe would block for ever, a directory reads as an odd error.
    if !std::fs::metadata(path).map_err(fail)?.is_file() {
        return Err(fail(io::Error::new(io::ErrorKind::InvalidInput, "not a file")));
    }
    bounded(std::fs::File::open(path).map_err(fail)?)
        .map_err(fail)?
        .ok_or_else(|| SecretError::TooLarge { reference: reference() })
}

/// All of it, or `None` if it is too large.
fn bounded(source: impl Read) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    let mut bytes = Zeroizing::new(Vec::new());
    source.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= MAX_BYTES).then_some(bytes))
}

/// Runs a command without a shell and with an empty environment: a name without a slash is looked up in the system's
/// default path. Its error output goes nowhere, because it could hold the secret.
fn command(argv: &[String], time: Duration, reference: impl Fn() -> String) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    let deadline = Instant::now() + time;
    let Some((program, arguments)) = argv.split_first() else {
        return Err(SecretError::Missing { reference: reference() });
    };
    let mut command = Command::new(program);
    command.args(arguments).env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|source| unreadable(reference(), source))?;
    let result = output(&mut child, deadline, &reference);
    if result.is_err() {
        // It may have ended by itself; either way nothing is left behind.
        let _ = child.kill();
        let _ = child.wait();
    }
    result
}

fn output(
    child: &mut Child,
    deadline: Instant,
    reference: &impl Fn() -> String,
) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    let (sender, receiver) = mpsc::sync_channel(1);
    if let Some(stdout) = child.stdout.take() {
        // A grandchild may keep the pipe open for longer than its parent lives, so this thread is not waited for.
        std::thread::spawn(move || sender.send(bounded(stdout)));
    }
    let timed_out = || SecretError::TimedOut { reference: reference() };
    let read = receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())).map_err(|_| timed_out())?;
    let bytes = read.map_err(|source| unreadable(reference(), source))?;
    let bytes = bytes.ok_or_else(|| SecretError::TooLarge { reference: reference() })?;
    loop {
        match child.try_wait().map_err(|source| unreadable(reference(), source))? {
            Some(status) if status.success() => return Ok(bytes),
            Some(status) => return Err(SecretError::Failed { reference: reference(), status }),
            None if Instant::now() >= deadline => return Err(timed_out()),
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &[u8]) -> (tempfile::TempDir, SecretRef) {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("key");
        std::fs::write(&path, text).expect("a file");
        (directory, SecretRef::File(path))
    }

    fn of_file(text: &[u8]) -> Result<String, SecretError> {
        let (_directory, secret) = written(text);
        read(&secret).map(|secret| secret.expose_secret().to_owned())
    }

    fn of_command(argv: &[&str]) -> Result<String, SecretError> {
        let secret = SecretRef::Command(argv.iter().map(|&word| word.to_owned()).collect());
        read(&secret).map(|secret| secret.expose_secret().to_owned())
    }

    #[test]
    fn one_trailing_newline_is_trimmed() {
        assert_eq!(of_file(b"abc").ok().as_deref(), Some("abc"));
        assert_eq!(of_file(b"abc\n").ok().as_deref(), Some("abc"));
        assert_eq!(of_file(b"abc\r\n").ok().as_deref(), Some("abc"));
        assert!(matches!(of_file(b"abc\n\n"), Err(SecretError::NotVisible { .. })));
    }

    #[test]
    fn a_secret_is_visible_ascii_and_not_empty() {
        for text in [&b""[..], b"\n", b"  \n"] {
            assert!(matches!(of_file(text), Err(SecretError::Empty { .. })), "{text:?}");
        }
        for text in [&b"a b"[..], b" ab", "schl\u{fc}ssel".as_bytes(), b"a\0b", b"\xff\xfe"] {
            assert!(matches!(of_file(text), Err(SecretError::NotVisible { .. })), "{text:?}");
        }
        assert!(matches!(of_file(&vec![b'a'; 65 * 1024]), Err(SecretError::TooLarge { .. })));
    }

    #[test]
    fn a_pem_keeps_its_line_breaks() {
        let (_directory, secret) = written(b"-----BEGIN KEY-----\nAA==\n-----END KEY-----\n");
        assert!(matches!(read(&secret), Err(SecretError::NotVisible { .. })));
        let pem = read_pem(&secret).map(|pem| pem.expose_secret().to_owned());
        assert_eq!(pem.ok().as_deref(), Some("-----BEGIN KEY-----\nAA==\n-----END KEY-----"));
    }

    #[test]
    fn a_secret_that_does_not_serve_its_purpose_is_none() {
        const UNFIT: Unfit = Unfit { why: "is too short", fix: "make a longer one" };
        let form = Form::Also(|text| if text.expose_secret().len() > 6 { Ok(()) } else { Err(UNFIT) });
        let (_directory, secret) = written(b"hunter22\n");
        assert_eq!(read_as(&secret, form).expect("a longer one").expose_secret(), "hunter22");
        let (_directory, secret) = written(b"hunter");
        let error = read_as(&secret, form).expect_err("too short");
        assert!(matches!(error, SecretError::Unfit { unfit: UNFIT, .. }), "{error}");
        assert!(error.to_string().ends_with("key is too short"), "{error}");
        assert!(!format!("{error} {error:?}").contains("hunter"), "{error:?}");
    }

    #[test]
    fn errors_name_the_reference_and_never_the_content() {
        let (directory, secret) = written(b"hunter2 hunter2");
        let error = read(&secret).expect_err("a space");
        assert!(error.to_string().contains("key holds something else"), "{error}");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
        let missing = SecretRef::File(directory.path().join("none"));
        assert!(matches!(read(&missing), Err(SecretError::Missing { .. })));
        let folder = SecretRef::File(directory.path().to_owned());
        assert!(matches!(read(&folder), Err(SecretError::Unreadable { .. })));
        let variable = SecretRef::Env("FOREBAY_TEST_NO_SUCH_VARIABLE".to_owned());
        assert!(matches!(read(&variable), Err(SecretError::Missing { .. })));
    }

    #[cfg(unix)]
    #[test]
    fn a_bounded_file_must_resolve_below_its_root() {
        let (directory, _) = written(b"secret");
        let root = directory.path().join("acme");
        std::fs::create_dir(&root).expect("a directory");
        std::fs::write(root.join("own"), "mine").expect("a file");
        std::os::unix::fs::symlink("../key", root.join("link")).expect("a link");
        let below = |name: &str| SecretRef::FileBelow { path: root.join(name), root: root.clone() };
        assert!(read(&below("own")).is_ok());
        assert!(matches!(read(&below("link")), Err(SecretError::Outside { .. })));
        assert!(matches!(read(&below("none")), Err(SecretError::Missing { .. })));
    }

    #[test]
    fn a_command_runs_without_shell_and_environment() {
        assert_eq!(of_command(&["echo", "$HOME;x"]).ok().as_deref(), Some("$HOME;x"));
        assert!(matches!(of_command(&["env"]), Err(SecretError::Empty { .. })));
        assert!(matches!(of_command(&["/no/such/program"]), Err(SecretError::Missing { .. })));
        assert!(matches!(of_command(&["sh", "-c", "echo key; exit 3"]), Err(SecretError::Failed { .. })));
        assert!(matches!(of_command(&["head", "-c", "70000", "/dev/zero"]), Err(SecretError::TooLarge { .. })));
    }

    #[test]
    fn a_command_that_takes_too_long_is_killed() {
        let argv = ["sleep".to_owned(), "60".to_owned()];
        let began = Instant::now();
        let result = command(&argv, Duration::from_millis(50), || "command sleep".to_owned());
        assert!(matches!(result, Err(SecretError::TimedOut { .. })));
        assert!(began.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn a_fingerprint_is_the_beginning_of_the_sha256() {
        assert_eq!(fingerprint(&SecretString::from("abc")), "ba7816bf");
    }
}
