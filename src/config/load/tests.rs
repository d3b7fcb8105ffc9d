//! One rule of the configuration a test, each with the place that is reported.

mod accounts;
mod secrets;
mod sections;

use std::path::Path;

use super::super::SecretRef;
use super::*;

/// A main file that is right, to which tests add accounts and sections.
const MAIN: &str = "[kafka]\nbrokers = \"127.0.0.1:9092\"\ntopics = [\"events\"]\n";

/// An account that is right.
const ACME: &str =
    "[accounts.acme.moengage]\nworkspace = \"W\"\ndata_center = \"02\"\nkeys = [{ file = \"secrets/acme\" }]\n";

fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    for (name, text) in files {
        let path = directory.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("directories");
        std::fs::write(path, text).expect("a file");
    }
    directory
}

fn load_in(directory: &Path) -> Result<Loaded, Problems> {
    load(&directory.join("config.toml"))
}

fn good(text: &str) -> Loaded {
    let directory = directory(&[("config.toml", text)]);
    load_in(directory.path()).unwrap_or_else(|problems| panic!("{problems}"))
}

/// The errors, without the directory before each file's name.
fn errors_of(directory: &Path) -> Vec<String> {
    let problems = load_in(directory).err().unwrap_or_default();
    let prefix = format!("{}/", directory.display());
    problems.errors.iter().map(|problem| problem.to_string().replace(&prefix, "")).collect()
}

fn errors(text: &str) -> Vec<String> {
    errors_of(directory(&[("config.toml", text)]).path())
}

/// The only error of the right main file with this after it.
fn error(after: &str) -> String {
    let found = errors(&format!("{MAIN}{after}"));
    assert_eq!(found.len(), 1, "{found:#?}");
    found.into_iter().next().unwrap_or_default()
}

/// The only error of an account at `MoEngage` with this before its vendor's table.
fn account_error(settings: &str) -> String {
    error(&format!("[accounts.acme]\n{settings}\n{ACME}"))
}

/// The only error of an account at Iterable with these settings in its vendor's table.
fn iterable_error(settings: &str) -> String {
    error(&format!("[accounts.a.iterable]\nregion = \"us\"\nkeys = [{{ env = \"K\" }}]\n{settings}\n"))
}

fn starts(text: &str, expected: &str) {
    assert!(text.starts_with(expected), "\n{text}\nshould begin with\n{expected}");
}

fn contains(text: &str, expected: &str) {
    assert!(text.contains(expected), "\n{text}\nshould contain\n{expected}");
}

// === the whole ===

#[test]
fn the_file_in_the_repository_is_right_and_has_the_documented_defaults() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config.toml");
    let loaded = load(&path).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(loaded.warnings, []);
    let config = loaded.config;
    let names: Vec<&str> = config.accounts.iter().map(|account| account.name.as_str()).collect();
    assert_eq!(names, ["acme-engage", "acme-mail", "globex"]);
    assert_eq!(config.accounts[1].limits, [("events".to_owned(), 10), ("users".to_owned(), 5)].into());
    assert_eq!(config.files, [path]);

    let bare = good(MAIN).config;
    assert_eq!(format!("{:?}", bare.delivery), format!("{:?}", config.delivery));
    assert_eq!(format!("{:?}", bare.memory), format!("{:?}", config.memory));
    assert_eq!(format!("{:?}", bare.dead_letters), format!("{:?}", config.dead_letters));
    assert_eq!(format!("{:?}", bare.tenant), format!("{:?}", config.tenant));
    assert_eq!((bare.drain, bare.admin, bare.control_topic), (config.drain, config.admin, config.control_topic));
}

/// Comments show defaults and examples: all of them must be settings that exist and values that fit.
#[test]
fn every_setting_in_a_comment_of_the_file_is_right_too() {
    let text = include_str!("../../../config.toml");
    let mut open = String::new();
    for line in text.lines() {
        // A commented setting is `# name = ..`, `# "name" = ..` or `# [table]`; the alternative `from` is left out.
        let setting = line.strip_prefix("# ").filter(|rest| {
            let word = rest.split([' ', '.']).next().unwrap_or_default();
            let named = rest.contains(" = ")
                && !word.is_empty()
                && word.chars().all(|c| matches!(c, 'a'..='z' | '0'..='9' | '_' | '"'));
            (named && *rest != "from = [" && !rest.starts_with("underscores")) || rest.starts_with("[accounts.")
        });
        open.push_str(setting.unwrap_or(line));
        open.push('\n');
    }
    // What loopback and vendors do not cover must be allowed.
    let open = open.replace("allow_hosts = []", "allow_hosts = [\"gateway.example.com\"]");
    let directory = directory(&[("config.toml", &open)]);
    let loaded = load_in(directory.path()).unwrap_or_else(|problems| panic!("{problems}\n{open}"));
    let account = &loaded.config.accounts[0];
    assert_eq!(account.limits.len(), 8);
    assert_eq!(account.fields.rename, [("traits.plan".to_owned(), "tier".to_owned())]);
    assert_eq!(loaded.config.kafka.properties.len(), 6);
    assert!(loaded.config.control.is_some() && loaded.config.secrets_root.is_some());
}

#[test]
fn all_problems_are_reported_at_once_across_files_in_their_order() {
    let main =
        format!("include = [\"a.d/*.toml\"]\n{MAIN}start = \"soon\"\n[memory]\ntotl = \"1GiB\"\n{ACME}colour = 1\n");
    let directory = directory(&[
        ("config.toml", &main),
        ("a.d/1.toml", "[accounts.b]\nhold = 1\n"),
        ("a.d/2.toml", "[accounts.c\n"),
        ("a.d/3.toml", "[accounts.d.iterable]\nregion = \"uk\"\nkeys = []\n"),
    ]);
    let found = errors_of(directory.path());
    let places: Vec<&str> = found.iter().filter_map(|text| text.split(": ").next()).collect();
    let expected = [
        "config.toml:5:9",
        "config.toml:7:1",
        "config.toml:12:1",
        "a.d/1.toml:1:1",
        "a.d/1.toml:2:8",
        "a.d/2.toml:1:12",
        "a.d/3.toml:2:10",
        "a.d/3.toml:3:8",
    ];
    assert_eq!(places, expected, "{found:#?}");
}

#[test]
fn a_syntax_error_in_the_main_file_does_not_hide_the_mistakes_of_included_files() {
    let directory = directory(&[
        ("config.toml", "include = [\"b.toml\"]\n[kafka\n"),
        (
            "b.toml",
            "[accounts.b]\nbase_url = \"https://gateway.example.com\"\nhold = 1\n[accounts.b.iterable]\nregion = \"us\"\nkeys = [{ env = \"K\" }]\n",
        ),
    ]);
    let found = errors_of(directory.path());
    assert_eq!(found.len(), 2, "{found:#?}");
    starts(&found[0], "config.toml:2:7: this is not TOML");
    starts(&found[1], "b.toml:3:8: accounts.b.hold: an integer does not fit here; write true or false");
}

#[test]
fn a_missing_file_says_what_to_do() {
    let directory = directory(&[]);
    starts(&errors_of(directory.path())[0], "config.toml: this file does not exist; name the file with --config");
}

#[test]
fn a_file_that_is_not_utf8_is_told_where() {
    let directory = directory(&[]);
    std::fs::write(directory.path().join("config.toml"), b"a = 1\nb = \"\xff\"\n").expect("a file");
    assert_eq!(errors_of(directory.path()), ["config.toml:2:6: this is not UTF-8; save the file as UTF-8"]);
}

#[test]
fn an_unknown_key_proposes_the_nearest() {
    assert_eq!(
        error("[delivery]\nlingr = \"1s\"\n"),
        "config.toml:5:1: delivery.lingr: this key is not known; did you mean \"linger\"?"
    );
    starts(&error("[acounts.x]\n"), "config.toml:4:2: acounts: this key is not known; did you mean \"accounts\"?");
    contains(&error("[admin]\nxyzzy = 1\n"), "known here: listen, control");
    contains(&error("[delivery]\ninclude = []\n"), "it stands in the main file, before the first table");
}

#[test]
fn columns_count_characters() {
    starts(&error(&ACME.replace(".acme.", ".\"ä\".")), "config.toml:4:11: accounts.\"ä\": \"ä\" is not a name");
    starts(
        &errors(&format!("{MAIN}[tenant]\nfrom = [{{ header = \"ä\" }}, {{ hedder = \"x\" }}]\n"))[0],
        "config.toml:5:27: ",
    );
}

// === files ===

#[test]
fn includes_are_sorted_files_without_dots_each_once() {
    let account = |name: &str| ACME.replace("acme", name);
    let main = format!("include = [\"a.d/*.toml\", \"./a.d/b.toml\", \"*.toml\", \"none.d/*\"]\n{MAIN}");
    let directory = directory(&[
        ("config.toml", &main),
        ("a.d/b.toml", &account("b")),
        ("a.d/a.toml", &account("a")),
        ("a.d/.hidden.toml", "wrong"),
        ("a.d/notes.txt", "wrong"),
        ("a.d/c.toml/deep.toml", "wrong"),
        ("z.toml", &account("z")),
    ]);
    let loaded = load_in(directory.path()).unwrap_or_else(|problems| panic!("{problems}"));
    let names: Vec<&str> = loaded.config.accounts.iter().map(|account| account.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "z"]);
    let files: Vec<_> =
        ["config.toml", "a.d/a.toml", "a.d/b.toml", "z.toml"].map(|name| directory.path().join(name)).into();
    assert_eq!(loaded.config.files, files);
}

#[test]
fn two_stars_read_directories_below() {
    let main = format!("include = [\"t/**/*.toml\"]\n{MAIN}");
    let directory = directory(&[("config.toml", &main), ("t/x/y/a.toml", ACME), ("t/.git/b.toml", "wrong")]);
    let loaded = load_in(directory.path()).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(loaded.config.accounts.len(), 1);
}

#[cfg(unix)]
#[test]
fn an_include_must_not_lead_out_of_the_directory() {
    use std::os::unix::fs::symlink;
    let outside = directory(&[("acme.toml", ACME)]);
    let main = format!("include = [\"a.d/*.toml\", \"../x.toml\", \"/etc/x.toml\"]\n{MAIN}");
    let directory = directory(&[("config.toml", &main), ("a.d/..data/in.toml", ACME)]);
    symlink("..data/in.toml", directory.path().join("a.d/in.toml")).expect("a link");
    symlink(outside.path().join("acme.toml"), directory.path().join("a.d/out.toml")).expect("a link");
    let found = errors_of(directory.path());
    assert_eq!(found.len(), 3, "{found:#?}");
    starts(&found[0], "config.toml:1:12: include[0]: a.d/out.toml leads out of the main file's directory");
    starts(&found[1], "config.toml:1:26: include[1]: files are included from the main file's directory only");
}

#[test]
fn an_include_without_wildcards_must_exist() {
    let found = errors(&format!("include = [\"accounts.toml\"]\n{MAIN}"));
    starts(&found[0], "config.toml:1:12: include[0]: \"accounts.toml\" does not exist");
}

#[test]
fn an_included_file_holds_accounts_only() {
    let main = format!("include = [\"a.toml\"]\n{MAIN}");
    let directory = directory(&[("config.toml", &main), ("a.toml", "include = []\n[delivery]\nlinger = \"1s\"\n")]);
    let found = errors_of(directory.path());
    starts(&found[0], "a.toml:1:1: include: an included file holds [accounts.*] only");
    starts(&found[1], "a.toml:2:2: delivery: an included file holds [accounts.*] only; move this to the main file");
}

#[test]
fn a_name_twice_names_both_places() {
    let main = format!("include = [\"a.toml\"]\n{MAIN}{ACME}");
    let directory = directory(&[("config.toml", &main), ("a.toml", ACME)]);
    let found = errors_of(directory.path());
    assert_eq!(
        found,
        ["a.toml:1:11: accounts.acme: this account stands in config.toml:5 already; give one of them another name"]
    );
}

#[test]
fn paths_of_included_files_are_relative_to_the_main_file() {
    let main = format!("include = [\"a.d/a.toml\"]\n{MAIN}");
    let directory = directory(&[("config.toml", &main), ("a.d/a.toml", ACME)]);
    let loaded = load_in(directory.path()).unwrap_or_else(|problems| panic!("{problems}"));
    let SecretRef::File(path) = &loaded.config.accounts[0].keys()[0].1.secret else { panic!("a file") };
    assert_eq!(*path, directory.path().join("secrets/acme"));
    assert_eq!(loaded.secrets[0].place.key, "accounts.acme.moengage.keys[0]");
    assert_eq!((loaded.secrets[0].place.line, loaded.secrets[0].place.column), (4, 9));
}
