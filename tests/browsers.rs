//! What a person sees: two windows on two servers, one number.

use std::time::Duration;

use serde_json::json;

use crate::support::browser::Browser;
use crate::support::client::Client;
use crate::support::node::Node;
use crate::support::redis::Redis;
use crate::support::static_page::StaticPage;
use crate::support::tokens::{Auth, CHANNELS, open, token};
use crate::support::{SOON, alone, same, settles};

const NUMBER: &str = "#count";
const STATE: &str = "#state";

#[tokio::test(flavor = "multi_thread")]
async fn two_windows_on_two_servers_show_the_same_number_as_a_third_comes_and_goes() {
    let _turn = alone().await;
    let redis = Redis::start().await;
    let nodes = [Node::start(&redis.url()).await, Node::start(&redis.url()).await];
    let [here, there] = [0, 1].map(|n| format!("http://{}/", nodes[n].address));
    let browser = Browser::start().await;
    let first = browser.open(&here).await;
    browser.shows(&first, NUMBER, "1").await;
    let second = browser.open(&there).await;
    for tab in [&first, &second] {
        browser.shows(tab, NUMBER, "2").await;
        browser.shows(tab, STATE, "Live").await;
    }
    let third = browser.open(&here).await;
    for tab in [&first, &second, &third] {
        browser.shows(tab, NUMBER, "3").await;
    }
    browser.close(&third).await;
    for tab in [&first, &second] {
        browser.shows(tab, NUMBER, "2").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_tells_of_an_outage_and_recovers_from_it_and_from_a_servers_crash() {
    let _turn = alone().await;
    let mut redis = Redis::start().await;
    let node = Node::start(&redis.url()).await;
    let address = node.address;
    let browser = Browser::start().await;
    let tab = browser.open(&format!("http://{address}/")).await;
    browser.shows(&tab, NUMBER, "1").await;
    browser.shows(&tab, STATE, "Live").await;
    redis.kill().await;
    browser.becomes(&tab, STATE, "out of reach").await;
    redis.revive().await;
    browser.shows(&tab, STATE, "Live").await;
    node.crash().await;
    browser.becomes(&tab, STATE, "Reconnecting").await;
    let again = Node::on(&redis.url()).start_at(address).await;
    again.ready().await;
    browser.shows(&tab, STATE, "Live").await;
    browser.shows(&tab, NUMBER, "1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_a_server_with_another_default_channel_shows_that_one() {
    let _turn = alone().await;
    let redis = Redis::start().await;
    let lobby = "[[channels]]\npattern = \"lobby\"\ncount = \"sockets\"\ndeliver = \"latest\"\n";
    let node = Node::on(&redis.url()).config(lobby).start().await;
    let browser = Browser::start().await;
    let tab = browser.open(&format!("http://{}/", node.address)).await;
    browser.shows(&tab, NUMBER, "1").await;
    browser.shows(&tab, STATE, "Live").await;
    browser.shows(&tab, "#channel", "lobby").await;
    browser.becomes(&tab, "#publish", "redis-cli PUBLISH lobby hello").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_board_moves_in_two_windows_on_two_servers() {
    let _turn = alone().await;
    let redis = Redis::start().await;
    let nodes = [Node::start(&redis.url()).await, Node::start(&redis.url()).await];
    let browser = Browser::start().await;
    let mut tabs = Vec::new();
    for node in &nodes {
        let tab = browser.open(&format!("http://{}/", node.address)).await;
        // The list is in the element's shadow; what it shows is copied to where the browser's driver looks.
        let script = "const board = document.createElement('live-board');
            board.setAttribute('channel', 'board:g');
            board.setAttribute('member', 'zoe');
            const shown = document.createElement('p');
            shown.id = 'shown';
            board.addEventListener('board', () => {
              const rows = [...board.shadowRoot.querySelectorAll('li')];
              shown.textContent = rows.map((row) => row.textContent + (row.ariaCurrent ? '*' : '')).join(' ');
            });
            document.body.append(board, shown);
            import('/live-board.js');";
        browser.run(&tab, script).await;
        tabs.push(tab);
    }
    redis.must::<()>(&["ZADD", "board:g", "120", "ann", "7.5", "<b>bob</b>", "3", "zoe"]).await;
    for tab in &tabs {
        browser.shows(tab, "#shown", "1ann120 2<b>bob</b>7.5 3zoe3*").await;
    }
    redis.must::<()>(&["ZINCRBY", "board:g", "1000", "zoe"]).await;
    for tab in &tabs {
        browser.shows(tab, "#shown", "1zoe1,003* 2ann120 3<b>bob</b>7.5").await;
    }
}

/// A page of another site, which shows how many people are on a page of its own.
async fn embedding(server: &Node, attributes: &str) -> StaticPage {
    let script = format!("<script type=module src=\"http://{}/headcount.js\" {attributes}></script>", server.address);
    StaticPage::serve(format!("<!doctype html>{script}<live-count channel=\"page:/x\"></live-count>")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn all_tabs_of_a_browser_are_one_person_who_is_the_same_after_a_crash_and_another_browser_is_another() {
    let _turn = alone().await;
    let redis = Redis::start().await;
    let node = Node::start(&redis.url()).await;
    let address = node.address;
    let page = embedding(&node, "").await;
    let (browser, private) = (Browser::start().await, Browser::start_private().await);
    let mut tabs = Vec::new();
    for _ in 0..3 {
        tabs.push(browser.open(&page.address).await);
    }
    let other = private.open(&page.address).await;
    private.becomes(&other, "live-count", "2").await;
    for tab in &tabs {
        browser.becomes(tab, "live-count", "2").await;
    }
    let people = || async { redis.run::<Vec<redis::Value>>(&["HKEYS", "headcount:v1:{page:/x}:people"]).await };
    let before = people().await.unwrap();
    node.crash().await;
    let _again = Node::on(&redis.url()).start_at(address).await;
    for tab in &tabs {
        browser.becomes(tab, "live-count", "2").await;
    }
    settles("the same two", SOON * 3, Duration::from_secs(5), || async {
        let mut now = people().await?;
        now.retain(|who| !before.contains(who));
        same("strangers and people", (now.len(), people().await?.len()), (0, 2))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_stores_nothing_counts_its_views() {
    let _turn = alone().await;
    let redis = Redis::start().await;
    let node = Node::start(&redis.url()).await;
    let page = embedding(&node, "data-storage=none").await;
    let browser = Browser::start().await;
    let first = browser.open(&page.address).await;
    browser.becomes(&first, "live-count", "1").await;
    let second = browser.open(&page.address).await;
    browser.becomes(&second, "live-count", "2").await;
    browser.becomes(&first, "live-count", "2").await;
}

/// What a list of members shows: names in order, and how many more.
const LISTED: &str = "const list = document.querySelector('live-members');
    const shown = document.createElement('p');
    shown.id = 'shown';
    const show = () => {
      const rows = [...(list.shadowRoot?.querySelectorAll('li') ?? [])];
      const names = rows.filter((row) => row.part.contains('member')).length;
      const more = rows.find((row) => row.part.contains('more'))?.textContent ?? '';
      shown.textContent = `${names} ${list.value?.length ?? 'none'} ${more}.`;
      shown.title = rows.map((row) => row.textContent).join('|');
    };
    list.addEventListener('members', show);
    document.body.append(shown);
    show();";

#[tokio::test(flavor = "multi_thread")]
async fn a_page_lists_who_is_here_and_stays_calm_with_hundreds() {
    let _turn = alone().await;
    let redis = Redis::start().await;
    let rooms = crate::members::rooms("members_max = 300");
    let node = Node::on(&redis.url()).config(&rooms).start().await;
    node.ready().await;
    let address = node.address;
    let script = format!("<script type=module src=\"http://{address}/headcount.js\"></script>");
    let element = "<live-members channel=\"room:1\"></live-members>";
    let page = StaticPage::serve(format!("<!doctype html>{script}{element}")).await;
    let (browser, private) = (Browser::start().await, Browser::start_private().await);
    let first = browser.open(&page.address).await;
    browser.run(&first, LISTED).await;
    browser.shows(&first, "#shown", "1 1 .").await;
    // Another tab is the same person; a private window is another.
    let second = browser.open(&page.address).await;
    browser.run(&second, LISTED).await;
    let other = private.open(&page.address).await;
    private.run(&other, LISTED).await;
    private.shows(&other, "#shown", "2 2 .").await;
    for tab in [&first, &second] {
        browser.shows(tab, "#shown", "2 2 .").await;
    }
    // Two hundred more: some are shown, and how many more there are.
    let mut guests = Vec::new();
    for number in 0..200 {
        guests.push(Client::open(&node, &format!("channel=room:1&visitor=guest-{number:016}")).await);
    }
    browser.shows(&first, "#shown", "24 202 +178 more.").await;
    for number in 200..400 {
        guests.push(Client::open(&node, &format!("channel=room:1&visitor=guest-{number:016}")).await);
    }
    browser.shows(&first, "#shown", "0 none 402 people.").await;
    drop(guests);
    node.crash().await;
    let _again = Node::on(&redis.url()).config(&rooms).start_at(address).await;
    for tab in [&first, &second] {
        browser.shows(tab, "#shown", "2 2 .").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_strangers_call_themselves_is_text_that_stays_in_its_place() {
    let _turn = alone().await;
    let (redis, auth) = (Redis::start().await, Auth::new());
    let node =
        Node::on(&redis.url()).config(&auth.config("").replace(CHANNELS, &crate::members::rooms(""))).start().await;
    node.ready().await;
    let script = format!("<script type=module src=\"http://{}/headcount.js\"></script>", node.address);
    let page = StaticPage::serve(format!("<!doctype html>{script}<live-members channel=room:1 watch></live-members>"));
    let (page, browser) = (page.await, Browser::start().await);
    let tab = browser.open(&page.address).await;
    let show = "const shown = document.createElement('p');
        shown.id = 'shown';
        const list = document.querySelector('live-members');
        list.addEventListener('members', () => {
          shown.textContent = [...list.shadowRoot.querySelectorAll('li')].map((row) => row.textContent).join(' ');
        });
        document.body.append(shown);";
    browser.run(&tab, show).await;
    let stranger = json!({ "sub": "x", "info": { "name": "\u{202e}<b>Ann</b>\u{0} Lee\u{200b} " } });
    let _here = open(&node, "channel=room:1", &token(stranger)).await.unwrap();
    browser.shows(&tab, "#shown", "BL<b>Ann</b> Lee").await;
}
