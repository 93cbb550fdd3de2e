//! A datastore in a directory of its own, and the binary run on it.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// Runs `homeward` with these words, away from the machine's own logging variables.
pub(crate) fn homeward(words: &[&str]) -> Done {
    Done::of(words, command().args(words).output().unwrap())
}

/// The binary, ready to be given arguments.
pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_homeward"));
    command
        .env_remove("SUDO_USER")
        .env_remove("HOMEWARD_LOG")
        .env_remove("NOTIFY_SOCKET")
        .env_remove("JOURNAL_STREAM");
    command
}

/// What a run came to.
pub(crate) struct Done {
    words: String,
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Done {
    pub(crate) fn of(words: &[&str], output: Output) -> Self {
        Self {
            words: words.join(" "),
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// What it printed, if it went well.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, 0, "homeward {}\n{}", self.words, self.stderr);
        assert_eq!(self.stderr, "", "homeward {}", self.words);
        self.stdout
    }

    /// What it warned of, if it went well; and what it printed.
    #[track_caller]
    pub(crate) fn warns(self) -> (String, String) {
        assert_eq!(self.code, 0, "homeward {}\n{}", self.words, self.stderr);
        let warning = self.stderr.strip_prefix("warning: ");
        let warning = warning.unwrap_or_else(|| panic!("no warning but {:?}", self.stderr));
        (warning.to_owned(), self.stdout)
    }

    /// The one JSON document that it printed, if it went well.
    #[track_caller]
    pub(crate) fn json(self) -> Value {
        let words = self.words.clone();
        let text = self.ok();
        serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("homeward {words}: {error}\n{text}"))
    }

    /// What it complained, if it ended with that status and printed nothing else.
    #[track_caller]
    pub(crate) fn fails(self, code: i32) -> String {
        assert_eq!(self.code, code, "homeward {}\n{}{}", self.words, self.stdout, self.stderr);
        assert_eq!(self.stdout, "", "homeward {}", self.words);
        self.stderr
    }
}

/// A datastore with its key ring.
pub(crate) struct Bench {
    directory: tempfile::TempDir,
}

impl Bench {
    /// An empty one: a key ring, and no database yet.
    pub(crate) fn new() -> Self {
        let bench = Self { directory: tempfile::tempdir().unwrap() };
        bench.admin("key create").ok();
        bench
    }

    /// One with a class `gold`, an account `smith`, a gateway `gw-1` and a network
    /// `smith/smithnet` behind it.
    pub(crate) fn furnished() -> Self {
        let bench = Self::new();
        bench.admin("class create gold").ok();
        bench.admin("account create smith --class gold").ok();
        bench
            .admin("gateway create gw-1 --mac 02:00:00:00:01:01 --place gb/london/n7 --operator op --address 127.0.0.1")
            .ok();
        bench
            .admin(
                "network create --account smith --ssid smithnet --security wpa2-psk --gateway gw-1",
            )
            .ok();
        bench
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a file that only its owner may read.
    pub(crate) fn file(&self, name: &str, contents: &str) -> String {
        let path = self.path(name);
        std::fs::write(&path, contents).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// `homeward admin` on this datastore. Words are split at spaces; `%` in a word stands for
    /// this directory.
    pub(crate) fn admin(&self, words: &str) -> Done {
        let directory = self.directory.path().to_str().unwrap();
        let database = format!("{directory}/core.db");
        let key_file = format!("{directory}/core.keys");
        let mut all = vec!["admin", "--database", &database, "--key-file", &key_file];
        let words: Vec<String> =
            words.split_whitespace().map(|word| word.replace('%', directory)).collect();
        all.extend(words.iter().map(String::as_str));
        homeward(&all)
    }
}

/// A file's permission bits.
pub(crate) fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}
