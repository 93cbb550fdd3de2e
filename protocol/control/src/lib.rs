//! The control channel: messages, the controller's and the gateway's machines.

/// The messages as they are on the wire, generated from `proto/`.
#[expect(missing_docs, clippy::doc_markdown, reason = "the schema documents them")]
pub mod pb {
    include!(concat!(env!("OUT_DIR"), "/homeward.control.v1.rs"));
}
