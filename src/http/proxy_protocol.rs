//! The PROXY protocol, version 2: the client's address, which a proxy sends before anything else.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tokio::io::{AsyncRead, AsyncReadExt};

/// The first twelve bytes of a PROXY header, version 2.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// The maximum number of bytes read after the fixed part of a header: addresses, and the proxy's additions.
const LONGEST: usize = 4096;

/// Reads a PROXY header of version 2, and not one byte more. Returns `None` if the header names no client, as
/// when the proxy connects for itself.
///
/// # Errors
/// The connection does not begin with a valid header.
pub async fn proxied(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<IpAddr>> {
    let bad = |why| io::Error::new(io::ErrorKind::InvalidData, why);
    let mut head = [0; 16];
    stream.read_exact(&mut head).await?;
    let [.., version_command, family, high, low] = head;
    if head[..12] != SIGNATURE || version_command >> 4 != 2 {
        return Err(bad("a trusted proxy sent no PROXY protocol header of version 2"));
    }
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > LONGEST {
        return Err(bad("a PROXY protocol header is too long"));
    }
    let mut rest = vec![0; length];
    stream.read_exact(&mut rest).await?;
    let client = match (version_command & 0xf, family >> 4) {
        (0, _) => None,
        (1, 1) => rest.first_chunk::<4>().map(|bytes| IpAddr::V4(Ipv4Addr::from(*bytes))),
        (1, 2) => rest.first_chunk::<16>().map(|bytes| IpAddr::V6(Ipv6Addr::from(*bytes))),
        (1, _) => None,
        _ => return Err(bad("a PROXY protocol header has an unknown command")),
    };
    Ok(client.map(|ip| ip.to_canonical()))
}
