//! A page of another site in the victim's browser, with every cookie of the victim: it gets what a stranger
//! gets.

use crate::support::browser::Browser;
use crate::support::client::Client;
use crate::support::redis::Redis;
use crate::support::static_page::StaticPage;
use crate::support::tokens::{Auth, open, token_of};
use crate::support::{SOON, alone};

/// Tries each way in, and shows what came of it.
fn attack(server: &str) -> String {
    format!(
        "<!doctype html><p id=socket></p><p id=events></p><p id=post></p><script>
        const show = (id, text) => (document.getElementById(id).textContent += text + ' ');
        const socket = new WebSocket('ws://{server}/ws?channel=room:1&channel=lobby');
        socket.onmessage = (message) => {{
          const said = JSON.parse(message.data);
          if (said.error) show('socket', said.error.channel + '=' + said.error.code);
          if (said.subscribed) {{
            show('socket', said.subscribed);
            socket.send(JSON.stringify({{ publish: {{ channel: 'lobby', data: 'stolen' }} }}));
          }}
        }};
        const events = new EventSource('http://{server}/events?channel=room:1', {{ withCredentials: true }});
        events.onerror = () => (show('events', 'refused'), events.close());
        events.onmessage = (message) => show('events', message.data);
        const url = 'http://{server}/api/channels/lobby/messages';
        const post = (options) => fetch(url, {{ method: 'POST', credentials: 'include', body: '\"stolen\"', ...options }})
          .then((reply) => show('post', reply.type + reply.status), () => show('post', 'refused'));
        post({{ headers: {{ 'Content-Type': 'application/json' }} }})
          .then(() => post({{ mode: 'no-cors' }}))
          .then(() => show('post', 'done'));
        </script>"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn another_sites_page_with_every_cookie_of_the_victim_gets_what_a_stranger_gets() {
    let _turn = alone().await;
    let (redis, auth) = (Redis::start().await, Auth::new());
    let node = auth.node(&redis.url()).start().await;
    node.ready().await;
    let ann = token_of("ann", "*");
    let witness = open(&node, "watch=room:1&watch=lobby", &ann).await.unwrap();
    let stranger = Client::open(&node, "watch=lobby").await;
    let browser = Browser::start().await;
    let hers = browser.open(&format!("http://{}/style.css", node.address)).await;
    // Cookies do not tell ports apart, so the other page's requests carry them.
    let set = ["token", "headcount.token", "Authorization", "access_token", "session"]
        .map(|name| format!("document.cookie = '{name}={ann}; path=/';"));
    browser.run(&hers, &set.concat()).await;
    let page = StaticPage::serve(attack(&node.address.to_string())).await;
    let theirs = browser.open(&page.address).await;
    for answer in ["room:1=forbidden", "lobby=forbidden"] {
        browser.becomes(&theirs, "#socket", answer).await;
    }
    browser.becomes(&theirs, "#post", "refused refused done").await;
    browser.becomes(&theirs, "#events", "refused").await;
    // What is published by somebody who may is the first that anybody hears.
    witness.send(serde_json::json!({ "publish": { "channel": "lobby", "data": "hers" } })).await;
    for client in [&witness, &stranger] {
        client.until("hers", SOON, |_| client.payloads("lobby").contains(&"hers".into()).then_some(())).await;
        assert!(!client.payloads("lobby").contains(&"stolen".into()), "{:?}", client.messages());
    }
    browser.quit().await;
}
