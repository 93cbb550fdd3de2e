//! The GGSN's VTY: what it says of its PDP contexts.
//!
//! [`contexts`] reads the text, and is pure; [`Vty`] asks for it over the VTY's telnet.

mod contexts;

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

pub use contexts::{ContextError, PdpContext, Tunnel, contexts};

/// Where osmo-ggsn listens: in its own namespace alone.
pub const ADDRESS: SocketAddr =
    SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, 1), 4260));

/// What ends an answer: the prompt of a session without privileges.
const PROMPT: &[u8] = b"OsmoGGSN> ";

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The longest answer: some ten thousand contexts.
const LONGEST: usize = 8 << 20;

/// Why the VTY did not tell.
#[derive(Debug, thiserror::Error)]
pub enum VtyError {
    /// The connection failed.
    #[error("osmo-ggsn's VTY cannot be spoken to")]
    Io(#[from] std::io::Error),
    /// It closed the connection.
    #[error("osmo-ggsn closed its VTY")]
    Closed,
    /// No prompt came.
    #[error("osmo-ggsn's VTY did not answer {command:?} within {PATIENCE:?}")]
    Late {
        /// What it was asked.
        command: String,
    },
    /// The answer has no end.
    #[error("osmo-ggsn's VTY answered {command:?} with more than {LONGEST} octets")]
    TooLong {
        /// What it was asked.
        command: String,
    },
    /// It answered with something else.
    #[error("osmo-ggsn's answer is not understood")]
    Context(#[from] ContextError),
}

/// A session.
#[derive(Debug)]
pub struct Vty {
    stream: TcpStream,
}

impl Vty {
    /// Connects.
    ///
    /// # Errors
    /// If nobody listens there, or it is not osmo-ggsn.
    pub async fn connect(address: SocketAddr) -> Result<Self, VtyError> {
        Self::over(TcpStream::connect(address).await?).await
    }

    /// A session over a connection that stands.
    ///
    /// # Errors
    /// If no osmo-ggsn is at its other end.
    pub async fn over(stream: TcpStream) -> Result<Self, VtyError> {
        let mut vty = Self { stream };
        vty.answer("(greeting)").await?;
        // Otherwise it stops after a screenful.
        vty.ask("terminal length 0").await?;
        Ok(vty)
    }

    /// Has a command done; returns all that it said to it, the command's echo first.
    ///
    /// # Errors
    /// If the connection fails, or no prompt follows. The session is of no use then.
    pub async fn ask(&mut self, command: &str) -> Result<String, VtyError> {
        // A carriage return alone: with a line feed it would count as two lines.
        self.stream.write_all(format!("{command}\r").as_bytes()).await?;
        self.answer(command).await
    }

    /// All contexts of a GGSN.
    ///
    /// # Errors
    /// As [`ask`](Self::ask), and if the answer is not understood: there may be no such GGSN.
    pub async fn contexts(&mut self, ggsn: &str) -> Result<Vec<PdpContext>, VtyError> {
        let said = self.ask(&format!("show pdp-context ggsn {ggsn}")).await?;
        Ok(contexts(&said)?)
    }

    async fn answer(&mut self, command: &str) -> Result<String, VtyError> {
        let mut said = Vec::new();
        let read = async {
            while !ends_in_prompt(&said) {
                if said.len() > LONGEST {
                    return Err(VtyError::TooLong { command: command.to_owned() });
                }
                if self.stream.read_buf(&mut said).await? == 0 {
                    return Err(VtyError::Closed);
                }
            }
            Ok(())
        };
        timeout(PATIENCE, read)
            .await
            .unwrap_or_else(|_| Err(VtyError::Late { command: command.to_owned() }))?;
        // The telnet negotiation in the greeting is no text, and no answer to anything.
        Ok(String::from_utf8_lossy(&said).into_owned())
    }
}

/// Whether the last line is a prompt.
fn ends_in_prompt(said: &[u8]) -> bool {
    said.strip_suffix(PROMPT)
        // In the greeting, the prompt follows the telnet negotiation: DO NAWS is its last.
        .is_some_and(|before| before.ends_with(b"\n") || before.ends_with(&[0xff, 0xfd, 0x1f]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_is_one_at_the_beginning_of_a_line_only() {
        let greeting = b"by law.\r\n\xff\xfb\x01\xff\xfb\x03\xff\xfe\"\xff\xfd\x1fOsmoGGSN> ";
        assert!(ends_in_prompt(greeting));
        assert!(ends_in_prompt(b"show ggsn\r\nOsmoGGSN> "));
        assert!(!ends_in_prompt(b"show ggsn\r\nOsmoGGSN>"));
        assert!(!ends_in_prompt(b" APN requested: OsmoGGSN> "));
    }
}
