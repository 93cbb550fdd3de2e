//! Compiles the schema, without protoc.

use std::error::Error;

const SCHEMA: &str = "homeward/control/v1/control.proto";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let files = protox::compile([SCHEMA], ["proto"])?;
    prost_build::Config::new().compile_fds(files)?;
    Ok(())
}
