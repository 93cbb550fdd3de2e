//! Compiles the schema, without protoc.

use std::error::Error;

const SCHEMA: &str = "homeward/handoff/v1/handoff.proto";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let files = protox::compile([SCHEMA], ["proto"])?;
    // What carries a key prints redacted: `src/redact.rs`.
    tonic_prost_build::configure()
        .build_transport(false)
        .skip_debug(
            ["Octets", "Hop", "Enrolment"].map(|name| format!(".homeward.handoff.v1.{name}")),
        )
        .compile_fds(files)?;
    Ok(())
}
