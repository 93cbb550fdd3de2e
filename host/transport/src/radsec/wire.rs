//! What both ends do with the octets of a connection.

use std::io;
use std::time::Duration;

use homeward_radius::Packets;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::error::Elapsed;
use tokio::time::timeout;

/// Packets that are written at once, at most.
pub(super) const BATCH: usize = 64;

/// How long saying good-bye may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// Waits for more octets; `false` once the other end has closed. Who closes without saying
/// good-bye has closed too.
pub(super) async fn fill(
    reader: &mut (impl AsyncRead + Unpin),
    packets: &mut Packets,
) -> io::Result<bool> {
    match reader.read(packets.room()).await {
        Ok(0) => Ok(false),
        Ok(octets) => {
            packets.filled(octets);
            Ok(true)
        }
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// Has the other end take octets, for as long as `stall`.
pub(super) async fn put(
    writer: &mut (impl AsyncWrite + Unpin),
    octets: &[u8],
    stall: Duration,
) -> Result<io::Result<()>, Elapsed> {
    timeout(stall, async {
        writer.write_all(octets).await?;
        writer.flush().await
    })
    .await
}

/// Says good-bye, if anybody takes it.
pub(super) async fn leave(writer: &mut (impl AsyncWrite + Unpin)) {
    let _ = timeout(FAREWELL, writer.shutdown()).await;
}
