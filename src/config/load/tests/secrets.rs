//! References to secrets, and that nothing shows one.

use super::super::super::Property;
use super::*;

#[test]
fn no_debug_text_shows_a_secret() {
    let text = format!(
        "{MAIN}[kafka.properties]\nsasl.password = \"hunter2\"\n[delivery]\nproxy = \"http://user:hunter2@proxy:3128\"\n{}",
        ACME.replace("file = \"secrets/acme\"", "value = \"hunter2\"")
    );
    let loaded = good(&text);
    let shown = format!("{loaded:?}");
    assert!(!shown.contains("hunter2"), "{shown}");
    contains(&shown, "http://(hidden)@proxy:3128");
    let keys: Vec<&str> = loaded.warnings.iter().map(|warning| warning.key.as_str()).collect();
    assert_eq!(keys, ["kafka.properties.\"sasl.password\"", "accounts.acme.moengage.keys[0].value"]);
    assert!(matches!(&loaded.config.kafka.properties[0].1, Property::Secret(SecretRef::Value(_))));
}

#[test]
fn no_message_shows_a_secret_that_stands_in_the_wrong_place() {
    let found = [
        error(&ACME.replace("{ file = \"secrets/acme\" }", "\"hunter2\"")),
        error("[delivery]\nproxy = \"https://user:hunter2@proxy\"\n"),
        error("[kafka.properties]\nsasl.password = [\"hunter2\"]\n"),
    ];
    assert!(!found.concat().contains("hunter2"), "{found:#?}");
    contains(&found[0], "keys[0]: a string does not fit here; write { file = \"path\" } or { env = \"NAME\" }");
}

#[test]
fn a_command_stands_in_the_main_file_only() {
    let command = ACME.replace("file = \"secrets/acme\"", "command = [\"bin/key\", \"acme\"]");
    let loaded = good(&format!("{MAIN}{command}"));
    let SecretRef::Command(argv) = &loaded.config.accounts[0].keys()[0].1.secret else { panic!("a command") };
    assert!(argv[0].starts_with('/') && argv[0].ends_with("/bin/key"), "{argv:?}");
    let main = format!("include = [\"a.toml\"]\n{MAIN}");
    let directory = directory(&[("config.toml", &main), ("a.toml", &command)]);
    contains(
        &errors_of(directory.path())[0],
        "a.toml:4:21: accounts.acme.moengage.keys[0].command: a command may stand in the main file only",
    );
}

#[test]
fn with_a_root_included_files_refer_to_their_tenants_directory() {
    let main = format!("include = [\"a.toml\"]\n{MAIN}[secrets]\nroot = \"secrets\"\n");
    let found = |reference: &str| {
        let account = ACME.replace("file = \"secrets/acme\"", reference);
        let directory = directory(&[("config.toml", &main), ("a.toml", &account), ("secrets/b/key", "k")]);
        #[cfg(unix)]
        {
            std::fs::create_dir(directory.path().join("secrets/acme")).expect("a directory");
            std::os::unix::fs::symlink("../b/key", directory.path().join("secrets/acme/link")).expect("a link");
        }
        errors_of(directory.path())
    };
    assert_eq!(found("file = \"secrets/acme/not-yet\""), [""; 0]);
    contains(&found("file = \"secrets/b/key\"")[0], "this file is outside of the tenant's directory of secrets");
    contains(&found("file = \"secrets/acme/../b/key\"")[0], "outside of the tenant's directory");
    #[cfg(unix)]
    contains(&found("file = \"secrets/acme/link\"")[0], "outside of the tenant's directory");
    contains(&found("env = \"K\"")[0], "an included file may not read the environment");
    let main = format!("{MAIN}[secrets]\nroot = \"secrets\"\n{}", ACME.replace("secrets/acme", "elsewhere"));
    assert_eq!(errors(&main), [""; 0]);
}
