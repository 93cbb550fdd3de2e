//! Compiles the schema, without protoc.

use std::error::Error;

const SCHEMA: &str = "homeward/control/v1/control.proto";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let files = protox::compile([SCHEMA], ["proto"])?;
    // What carries a key or names a subscriber prints redacted: `src/redact.rs`.
    let secret = ["OpenTunnel", "Peer", "HeldTunnel", "Leg", "HeldLogin", "EnrolRequest"];
    prost_build::Config::new()
        .skip_debug(secret.map(|name| format!(".homeward.control.v1.{name}")))
        .compile_fds(files)?;
    Ok(())
}
