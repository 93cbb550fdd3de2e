//! Compiles the service's ends out of the schema, without protoc; the messages are
//! `homeward-control`'s.

use std::error::Error;

const PROTO: &str = "../../protocol/control/proto";
const SCHEMA: &str = "homeward/control/v1/control.proto";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={PROTO}");
    let files = protox::compile([SCHEMA], [PROTO])?;
    tonic_prost_build::configure()
        .build_transport(false)
        .extern_path(".homeward.control.v1", "::homeward_control::pb")
        .compile_fds(files)?;
    Ok(())
}
