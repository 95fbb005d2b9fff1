//! Pages of other sites in a real browser: one that shows tokens with our script, and an attacker's in the
//! victim's browser, with every cookie of the victim, which gets what a stranger gets.

use crate::support::browser::Browser;
use crate::support::client::Client;
use crate::support::redis::Redis;
use crate::support::static_page::StaticPage;
use crate::support::tokens::{Auth, now, open, token, token_of};
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
}

/// Joins a room with a token that soon ends, then with one that does not, and publishes there.
fn member(server: &str, first: &str, next: &str) -> String {
    format!(
        "<!doctype html><p id=asked>0</p><p id=count></p><p id=said></p><p id=error></p>
        <script type=module>
        import {{ authorize, connect }} from 'http://{server}/headcount.js';
        const show = (id, text) => (document.getElementById(id).textContent = text);
        const tokens = ['{first}', '{next}'];
        let asked = 0;
        authorize(async () => (show('asked', ++asked), tokens[Math.min(asked, 2) - 1]));
        const room = connect({{ channels: ['room:1'] }});
        room.addEventListener('count', ({{ detail }}) => show('count', detail.count));
        room.addEventListener('error', ({{ detail }}) => show('error', detail.code));
        room.addEventListener('message', ({{ detail }}) => show('said', JSON.stringify(detail.data)));
        window.say = (text) => room.publish('room:1', {{ text }});
        </script>"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_says_how_to_get_a_token_joins_publishes_and_gets_another_when_it_ends() {
    let _turn = alone().await;
    let (redis, auth) = (Redis::start().await, Auth::new());
    let node = auth.node(&redis.url()).start().await;
    node.ready().await;
    let browser = Browser::start().await;
    let rights = serde_json::json!({ "join": ["room:1"], "publish": ["room:1"] });
    let first = token(serde_json::json!({ "sub": "ann", "exp": now() + 8, "headcount": rights }));
    let next = token(serde_json::json!({ "sub": "ann", "headcount": rights }));
    let page = StaticPage::serve(member(&node.address.to_string(), &first, &next)).await;
    let tab = browser.open(&page.address).await;
    browser.becomes(&tab, "#count", "1").await;
    browser.becomes(&tab, "#error", "token_expired").await;
    browser.becomes(&tab, "#asked", "2").await;
    browser.run(&tab, "window.say('hello')").await;
    browser.becomes(&tab, "#said", r#"{"text":"hello"}"#).await;
    browser.becomes(&tab, "#count", "1").await;
}
