//! The page and its parts come out of the binary, cached, compressed, and shut off from other hosts.

use std::collections::BTreeSet;
use std::io::Read;

use crate::support::http::{Reply, request};
use crate::support::node::Node;
use crate::support::redis::Redis;
use crate::support::{SOON, beside_others, eventually, same};

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors *";

const ASSETS: [(&str, &str); 3] =
    [("/", "text/html"), ("/headcount.js", "text/javascript"), ("/style.css", "text/css")];

async fn get(node: &Node, path: &str, headers: &[&str]) -> Reply {
    request(node.address, "GET", path, headers).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_asset_has_its_type_a_strong_etag_and_a_304() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let node = Node::start(&redis.url()).await;
    for (path, kind) in ASSETS {
        let reply = get(&node, path, &[]).await;
        assert_eq!(reply.status, 200, "{path}");
        assert!(reply.must("content-type").starts_with(kind), "{path}: {reply:?}");
        assert!(!reply.must("cache-control").is_empty());
        let etag = reply.must("etag").to_owned();
        assert!(etag.starts_with('"') && etag.len() > 10, "{etag} is no strong ETag");
        for value in [etag.clone(), format!("\"other\", {etag}"), format!("W/{etag}"), "*".into()] {
            let again = get(&node, path, &[&format!("If-None-Match: {value}")]).await;
            assert_eq!((again.status, again.body.len()), (304, 0), "{path} with {value}");
            assert_eq!(again.must("etag"), etag);
        }
        assert_eq!(get(&node, path, &["If-None-Match: \"other\""]).await.status, 200);
        let head = request(node.address, "HEAD", path, &[]).await.unwrap();
        assert_eq!((head.status, head.body.len()), (200, 0), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_asset_is_sent_compressed_where_the_client_takes_it() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let node = Node::start(&redis.url()).await;
    for (path, _) in ASSETS {
        let plain = get(&node, path, &[]).await;
        assert_eq!(plain.header("content-encoding"), None);
        let packed = get(&node, path, &["Accept-Encoding: deflate, gzip;q=0.8"]).await;
        assert_eq!(packed.must("content-encoding"), "gzip", "{path}");
        assert!(packed.must("vary").to_ascii_lowercase().contains("accept-encoding"));
        assert!(packed.body.len() < plain.body.len());
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(packed.body.as_slice()).read_to_end(&mut unpacked).unwrap();
        assert!(unpacked == plain.body, "{path} differs when it is compressed");
        let refused = get(&node, path, &["Accept-Encoding: gzip;q=0"]).await;
        assert_eq!(refused.header("content-encoding"), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_under_a_strict_policy_that_it_keeps() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let node = Node::start(&redis.url()).await;
    let page = get(&node, "/", &[]).await;
    let rules = |policy: &str| policy.split(';').map(|rule| rule.trim().to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(rules(page.must("content-security-policy")), rules(POLICY));
    assert_eq!(page.must("x-content-type-options"), "nosniff");
    let html = page.text();
    for inline in ["<style", " style=", "onclick=", "javascript:", "src=\"http", "href=\"http"] {
        assert!(!html.contains(inline), "{inline} in the page");
    }
    for script in html.split("<script").skip(1) {
        assert!(script.split('>').next().unwrap().contains("src="), "an inline script: {script}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_part_that_the_page_names_is_served() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let node = Node::start(&redis.url()).await;
    let html = get(&node, "/", &[]).await.text();
    let parts = html.split(['"', '\'']).filter(|part| {
        let name = part.rsplit_once('.').map(|(_, kind)| kind);
        matches!(name, Some("js" | "css" | "svg")) && !part.contains(' ')
    });
    let mut seen = 0;
    for part in parts {
        let path = format!("/{}", part.trim_start_matches("./").trim_start_matches('/'));
        assert_eq!(get(&node, &path, &[]).await.status, 200, "{path}");
        seen += 1;
    }
    assert!(seen >= 2, "the page names only {seen} parts");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_scripts_are_told_the_default_channel_and_a_reload_tells_them_another_one() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let channels =
        |name: &str| format!("[[channels]]\npattern = {name:?}\ncount = \"sockets\"\ndeliver = \"latest\"\n");
    let node = Node::on(&redis.url()).config(&channels("lobby\"1")).start().await;
    let reply = get(&node, "/default.js", &[]).await;
    assert_eq!(reply.text(), "export const DEFAULT_CHANNEL = \"lobby\\\"1\";\n");
    assert!(reply.must("content-type").starts_with("text/javascript"));
    assert_eq!((reply.must("cache-control"), reply.must("access-control-allow-origin")), ("no-cache", "*"));
    node.reload(&channels("hall"));
    eventually("the other one is named", SOON, || async {
        let text = get(&node, "/default.js", &[]).await.text();
        same("default.js", text.as_str(), "export const DEFAULT_CHANNEL = \"hall\";\n")
    })
    .await;
}
