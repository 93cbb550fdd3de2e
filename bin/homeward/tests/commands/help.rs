//! What the command says of itself.

use crate::bench::{Bench, Done, command, homeward};

#[test]
fn the_help_is_short_and_names_every_command() {
    let help = homeward(&["--help"]).ok();
    assert!(help.lines().count() < 25, "{help}");
    insta::assert_snapshot!(help);
}

#[test]
fn admins_help_shows_the_way_from_nothing_to_a_roaming_device() {
    insta::assert_snapshot!(homeward(&["admin", "--help"]).ok());
}

#[test]
fn the_version_is_the_packages() {
    assert_eq!(homeward(&["--version"]).ok(), format!("homeward {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_command_line_that_makes_no_sense_ends_with_2() {
    for words in
        [&["dance"][..], &[], &["admin"], &["admin", "class", "create"], &["core", "--config"]]
    {
        assert!(!homeward(words).fails(2).is_empty());
    }
}

#[test]
fn a_log_filter_that_makes_no_sense_is_named() {
    let error = homeward(&["doctor", "core", "--log", "homeward=lots"]).fails(2);
    assert!(error.contains("homeward=lots"), "{error}");
}

#[test]
fn a_reader_who_has_gone_is_no_failure() {
    let bench = Bench::furnished();
    let (database, key_file) = (bench.path("core.db"), bench.path("core.keys"));
    let store =
        ["--database", database.to_str().unwrap(), "--key-file", key_file.to_str().unwrap()];
    for words in [&["--help"][..], &["admin", "class", "list"], &["admin", "export", "class"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = command();
        command.args(words).stdout(writer);
        if words.len() > 1 {
            command.args(store);
        }
        Done::of(words, command.output().unwrap()).ok();
    }
}
