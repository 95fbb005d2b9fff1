//! A store behind TLS: its certificate is checked, ours is shown, and what is wrong with either is one
//! clear line.

use std::time::Duration;

use crate::support::authority::{Authority, Signed};
use crate::support::crowd::Crowd;
use crate::support::node::{Node, Setup};
use crate::support::redis::free_port;
use crate::support::servers::Server;
use crate::support::{alone, beside_others, same, settles, stays};

const COUNT: &str = "users:count";

/// A server that speaks TLS on the port given back, and wants a certificate of its clients.
async fn store(authority: &Authority, certificate: &Signed) -> (Server, u16) {
    let port = free_port();
    let number = port.to_string();
    let files = [&certificate.pem, &certificate.key, &authority.pem].map(|file| file.0.to_str().unwrap());
    let arguments = ["--tls-cert-file", files[0], "--tls-key-file", files[1], "--tls-ca-cert-file", files[2]];
    let server = Server::start(&[&arguments[..], &["--tls-port", &number, "--tls-auth-clients", "yes"]].concat()).await;
    (server, port)
}

fn node(port: u16, authority: &Authority, own: Option<&Signed>) -> Setup {
    let setup = Node::on(&format!("rediss://localhost:{port}")).set("REDIS__CA", authority.pem.0.to_str().unwrap());
    match own {
        Some(own) => {
            setup.set("REDIS__CERTIFICATE", own.pem.0.to_str().unwrap()).set("REDIS__KEY", own.key.0.to_str().unwrap())
        }
        None => setup,
    }
}

async fn is_right(store: &Server, crowd: &Crowd) {
    let open = crowd.size();
    settles(&format!("{open} everywhere"), Duration::from_secs(4), Duration::from_millis(500), || async {
        same("GET", store.ask(&["GET", COUNT]).await?, Some(open))?;
        crowd.sees(open)
    })
    .await;
}

/// From now on, both authorities' certificates are others, in the same files.
async fn rotate(store: &Server, authority: &Authority, theirs: &Signed, ours: &Signed) {
    let other = Authority::make();
    std::fs::copy(&other.pem.0, &authority.pem.0).unwrap();
    theirs.replace(&other.sign("localhost"));
    ours.replace(&other.sign("headcount"));
    for (key, file) in [("cert", &theirs.pem), ("key", &theirs.key), ("ca-cert", &authority.pem)] {
        // The first two do not fit before both are set.
        let _ = store.ask::<String>(&["CONFIG", "SET", &format!("tls-{key}-file"), file.0.to_str().unwrap()]).await;
    }
    for kind in ["normal", "pubsub"] {
        store.must::<i64>(&["CLIENT", "KILL", "TYPE", kind]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_behind_tls_is_counted_in_and_its_certificates_may_be_replaced_under_load() {
    let _turn = alone().await;
    let authority = Authority::make();
    let (theirs, ours) = (authority.sign("localhost"), authority.sign("headcount"));
    let (store, port) = store(&authority, &theirs).await;
    let node = node(port, &authority, Some(&ours)).start().await;
    node.ready().await;
    let mut crowd = Crowd::gather(&node, COUNT, 200).await;
    is_right(&store, &crowd).await;
    for _ in 0..3 {
        tokio::join!(crowd.churn(Duration::from_secs(1), 50), rotate(&store, &authority, &theirs, &ours));
    }
    is_right(&store, &crowd).await;
    assert_eq!(node.log.lines_with("TLS "), Vec::<String>::new(), "each new connection has the new certificates");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_not_to_be_trusted_is_one_line_that_says_why() {
    let _turn = beside_others().await;
    let (authority, stranger) = (Authority::make(), Authority::make());
    let ours = authority.sign("headcount");
    for (theirs, trusted, own, says) in [
        (authority.sign("other.example"), &authority, Some(&ours), "not valid for name"),
        (authority.sign_until("localhost", 2001), &authority, Some(&ours), "expired"),
        (authority.sign("localhost"), &stranger, Some(&ours), "UnknownIssuer"),
        (authority.sign("localhost"), &authority, None, "fatal alert"),
    ] {
        let (_store, port) = store(&authority, &theirs).await;
        let node = node(port, trusted, own).start().await;
        let line = node.says(&["ERROR", "refused: ", "TLS "]).await;
        assert!(line.contains(says), "{says}: {line}");
        stays("one line", Duration::from_secs(2), || async {
            same("lines", node.log.lines_with("ERROR").len() + node.log.lines_with("degraded").len(), 1)
        })
        .await;
        assert_eq!(node.get("/readyz").await.unwrap().status, 503);
    }
}
