//! `[tls]`: certificate and key of the addresses that speak TLS.

use super::super::model::Config;
use super::row::{ValueType::*, section};

section! {
    /// For the addresses in server.listen that start with "tls:". HTTP/1.1 over TLS 1.2 and 1.3.
    /// A relative file name is looked up among systemd's credentials first, then in the working directory.
    [tls]

    /// The certificate with its chain, as a PEM file. The server's user must be able to read it:
    ///   install -g headcount -m 640 fullchain.pem /etc/headcount/
    /// After a renewal, reload: new connections get the new certificate, open ones stay.
    /// Warning: with TLS a client takes three file descriptors instead of one (LimitNOFILE), about 10 KiB
    /// of memory, and more than twice the CPU for each message.
    certificate = "": Text, live(adopt);

    /// The certificate's private key, as a PEM file.
    key = "": SecretFile, live(adopt);
}

/// Takes over a new certificate. Addresses that speak TLS stay open even if the file no longer has one.
fn adopt(running: &mut Config, new: &Config) {
    if new.tls.is_some() {
        running.tls.clone_from(&new.tls);
    }
}
