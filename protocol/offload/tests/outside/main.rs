//! The documents of `schema/` and the messages, held to what others make of them: libxml2,
//! jsonschema and openapi-spec-validator, and zeep as a SOAP client that knows the WSDL alone.
#![cfg(test)]

#[path = "../codec/any.rs"]
mod any;
mod documents;
mod zeep;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;

/// The script, and what is said to it and by it, a line of JSON at a time.
struct Outside {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Outside {
    fn start(what: &str, job: &Value) -> Self {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut child = Command::new(here.join("../../target/tools/python/bin/python"))
            .arg(here.join("tests/outside/outside.py"))
            .arg(what)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("zeep is missing: `make python` installs it");
        let to = child.stdin.take().unwrap();
        let from = BufReader::new(child.stdout.take().unwrap());
        let mut outside = Self { child, to, from };
        outside.say(job);
        outside
    }

    fn say(&mut self, line: &Value) {
        writeln!(self.to, "{line}").unwrap();
    }

    fn hear(&mut self) -> Value {
        let mut line = String::new();
        self.from.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "the script ended; its reason is above");
        serde_json::from_str(&line).unwrap()
    }

    fn end(mut self) {
        drop(self.to);
        assert!(self.child.wait().unwrap().success());
    }
}
