//! The house stands: imports point down, files stay readable, `unsafe` stays in one crate.
// So that clippy knows the helpers below for tests too.
#![cfg(test)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The floors, top to bottom. A crate may import from floors below its own only; `host` and
/// `protocol` crates may also build on a neighbour, roles never.
const FLOORS: [&str; 5] = ["bin", "roles", "host", "protocol", "model"];

/// Floors whose crates may import each other.
const NEIGHBOURLY: [&str; 2] = ["host", "protocol"];

/// Where things are tried and measured: these may import anything, each other too, and nothing
/// else imports them.
const OUTSIDE: [&str; 2] = ["lab", "benches"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What is wrong with an import of `to` (a folder) by `from`, if anything.
fn wrong(from: &str, to: &str) -> Option<String> {
    let floor = |folder: &str| folder.split('/').next().unwrap_or_default().to_owned();
    let (from_floor, to_floor) = (floor(from), floor(to));
    if OUTSIDE.contains(&to_floor.as_str()) {
        return (!OUTSIDE.contains(&from_floor.as_str()))
            .then(|| format!("{from} imports {to}, a place to try things"));
    }
    if OUTSIDE.contains(&from_floor.as_str()) {
        return None;
    }
    let level = |floor: &str| FLOORS.iter().position(|f| *f == floor);
    match (level(&from_floor), level(&to_floor)) {
        (Some(a), Some(b)) if a < b => None,
        (Some(a), Some(b)) if a == b && NEIGHBOURLY.contains(&from_floor.as_str()) => None,
        (Some(a), Some(b)) if a == b => Some(format!("{from} imports its neighbour {to}")),
        (Some(_), Some(_)) => Some(format!("{from} imports {to}, which is above it")),
        _ => Some(format!("{from} imports {to}: one of them is on no floor")),
    }
}

#[test]
fn imports_point_down() {
    let metadata = metadata();
    let root = root();
    let folders: BTreeMap<String, String> = metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| {
            let manifest = Path::new(p["manifest_path"].as_str().unwrap());
            let folder = manifest.parent().unwrap().strip_prefix(&root).unwrap();
            (p["name"].as_str().unwrap().to_owned(), folder.to_str().unwrap().to_owned())
        })
        .collect();
    let mut found = Vec::new();
    for package in metadata["packages"].as_array().unwrap() {
        let from = &folders[package["name"].as_str().unwrap()];
        for dependency in package["dependencies"].as_array().unwrap() {
            // A test may lean on a neighbour; what ships may not.
            if dependency["kind"] == "dev" {
                continue;
            }
            if let Some(to) = folders.get(dependency["name"].as_str().unwrap()) {
                found.extend(wrong(from, to));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn an_arrow_that_points_up_or_sideways_is_found() {
    for (from, to) in [
        ("protocol/radius", "host/linux"),
        ("roles/aaa", "roles/gateway"),
        ("model", "protocol/vap"),
        ("host/daemon", "lab/radio"),
        ("roles/aaa", "attic/common"),
    ] {
        assert!(wrong(from, to).is_some(), "{from} -> {to}");
    }
    for (from, to) in
        [("bin/homeward", "roles/aaa"), ("host/store", "model"), ("lab/radio", "host/hostapd")]
    {
        assert_eq!(wrong(from, to), None);
    }
}

#[test]
fn a_folders_name_is_its_crates_name() {
    for package in metadata()["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        let folder = Path::new(package["manifest_path"].as_str().unwrap()).parent().unwrap();
        let folder = folder.file_name().unwrap().to_str().unwrap();
        assert!(name == "homeward" || name == format!("homeward-{folder}"), "{name} in {folder}");
    }
}

fn rust_files(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            rust_files(&path, into);
        } else if name.ends_with(".rs") {
            into.push(path);
        }
    }
}

#[test]
fn files_stay_under_600_lines_of_code() {
    let mut files = Vec::new();
    rust_files(&root(), &mut files);
    assert!(files.len() > 30, "the search for files is broken: {} found", files.len());
    let mut long = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let code =
            text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().lines().count();
        let all = text.lines().count();
        if code > 600 || all > 1000 {
            long.push(format!("{}: {code} lines of code, {all} in all", file.display()));
        }
    }
    assert!(long.is_empty(), "{long:#?}");
}

#[test]
fn unsafe_code_is_lifted_in_host_linux_only() {
    let lifted: Vec<_> = metadata()["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| PathBuf::from(p["manifest_path"].as_str().unwrap()))
        .filter(|manifest| {
            !std::fs::read_to_string(manifest).unwrap().contains("[lints]\nworkspace = true")
        })
        .collect();
    assert_eq!(lifted, [root().join("host/linux/Cargo.toml")]);
}
