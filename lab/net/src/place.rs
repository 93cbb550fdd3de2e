//! Where a test is: its name, and cargo's folders around its binary.

use std::path::Path;

use anyhow::{Context, Result};

/// The name by which libtest knows the running test.
///
/// It runs tests on threads named after them, but on the main thread if there is but one CPU;
/// then the name is read off the type of the test's body, `binary::module::test::{{closure}}`.
pub fn test_name(body_type: &str) -> String {
    match std::thread::current().name() {
        Some(name) if name != "main" => name.to_owned(),
        _ => {
            let path = body_type.split_once("::").map_or(body_type, |(_, path)| path);
            path.split("::{{closure}}").next().unwrap_or(path).to_owned()
        }
    }
}

/// Cargo's target folder, seen from a test's binary in `<target>/<profile>/deps` or a program in
/// `<target>/<profile>`.
///
/// # Errors
/// If the binary is in no such folder.
pub fn target_dir(binary: &Path) -> Result<&Path> {
    profile_dir(binary)
        .and_then(Path::parent)
        .with_context(|| format!("{} is not in a cargo target folder", binary.display()))
}

/// Cargo's folder for the profile in use, where the workspace's own binaries are.
pub fn profile_dir(binary: &Path) -> Option<&Path> {
    let dir = binary.parent()?;
    if dir.ends_with("deps") || dir.ends_with("examples") { dir.parent() } else { Some(dir) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_knows_its_name_from_its_thread_or_from_its_body() {
        let here = "place::tests::a_test_knows_its_name_from_its_thread_or_from_its_body";
        assert_eq!(test_name("lab::other::{{closure}}"), here);
        let on_main = std::thread::Builder::new()
            .name("main".into())
            .spawn(|| test_name("lab::walks::home::{{closure}}"))
            .unwrap();
        assert_eq!(on_main.join().unwrap(), "walks::home");
    }

    #[test]
    fn the_target_folder_is_found_from_a_test_and_from_a_program() {
        for binary in ["debug/deps/lab-1234", "debug/homeward-radio", "debug/examples/tunnel"] {
            let binary = Path::new("/src/target").join(binary);
            assert_eq!(target_dir(&binary).unwrap(), Path::new("/src/target"));
        }
    }
}
