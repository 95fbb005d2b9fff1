//! A real browser: headless Chromium, driven by ChromeDriver.

use std::process::Stdio;
use std::time::Duration;

use fantoccini::wd::{Capabilities, WindowHandle};
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::eventually;

/// Ample for a browser's start on a busy machine.
const START: Duration = Duration::from_secs(60);

/// Ample for a page to load and show a number.
const SHOW: Duration = Duration::from_secs(20);

/// Keeps the browser to the pages that it is sent to.
const FLAGS: [&str; 9] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];

/// A running browser with one tab. It ends when it is dropped.
pub struct Browser {
    client: Client,
    driver: Child,
    _profile: Profile,
}

/// Kills the driver and the browser that it started, whose processes are one group: asked to end, a browser of a
/// test that is over sometimes fails to, which says nothing of what was tested.
impl Drop for Browser {
    fn drop(&mut self) {
        if let Some(group) = self.driver.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// A new and empty user data folder.
struct Profile(std::path::PathBuf);

impl Drop for Profile {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Browser {
    pub async fn start() -> Browser {
        Browser::start_with(&[]).await
    }

    /// One whose windows are private.
    pub async fn start_private() -> Browser {
        Browser::start_with(&["--incognito"]).await
    }

    async fn start_with(more: &[&str]) -> Browser {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|why| panic!("this test needs chromium and chromedriver; .ci/setup installs them ({why})"));
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = timeout(START, async {
            while let Some(line) = lines.next_line().await.unwrap() {
                if let Some((_, port)) = line.split_once("started successfully on port ") {
                    return port.trim_end_matches('.').to_owned();
                }
            }
            panic!("chromedriver ended without naming a port");
        });
        let port = port.await.expect("chromedriver starts in time");
        let profile = Profile(std::env::temp_dir().join(format!("headcount-browser-{}-{port}", std::process::id())));
        let mut arguments: Vec<String> = FLAGS.iter().chain(more).map(ToString::to_string).collect();
        arguments.push(format!("--user-data-dir={}", profile.0.display()));
        let mut wishes = Capabilities::new();
        wishes.insert("goog:chromeOptions".into(), json!({ "args": arguments }));
        let mut builder = ClientBuilder::new(HttpConnector::new());
        let address = format!("http://127.0.0.1:{port}");
        let connect = builder.capabilities(wishes).connect(&address);
        let client = timeout(START, connect).await.expect("chromium starts in time").unwrap();
        Browser { client, driver, _profile: profile }
    }

    /// Opens a page in a new tab, which is then the one in front.
    pub async fn open(&self, address: &str) -> WindowHandle {
        let tab = self.client.new_window(true).await.unwrap().handle;
        self.client.switch_to_window(tab.clone()).await.unwrap();
        self.client.goto(address).await.unwrap();
        tab
    }

    /// Runs a script in a tab.
    pub async fn run(&self, tab: &WindowHandle, script: &str) {
        self.client.switch_to_window(tab.clone()).await.unwrap();
        self.client.execute(script, Vec::new()).await.unwrap();
    }

    /// Closes a tab.
    pub async fn close(&self, tab: &WindowHandle) {
        self.client.switch_to_window(tab.clone()).await.unwrap();
        self.client.close_window().await.unwrap();
    }

    /// Waits until the first line of the element that `css` finds in this tab is this one. A further
    /// line is for readers of the screen.
    pub async fn shows(&self, tab: &WindowHandle, css: &str, text: &str) {
        self.until(tab, css, text, |found| found.lines().next() == Some(text)).await;
    }

    /// Waits until the text of the element that `css` finds in this tab holds this one.
    pub async fn becomes(&self, tab: &WindowHandle, css: &str, text: &str) {
        self.until(tab, css, text, |found| found.contains(text)).await;
    }

    async fn until(&self, tab: &WindowHandle, css: &str, text: &str, right: impl Fn(&str) -> bool) {
        self.client.switch_to_window(tab.clone()).await.unwrap();
        eventually(&format!("{css} shows {text:?}"), SHOW, || async {
            let element = self.client.find(Locator::Css(css)).await.map_err(|why| why.to_string())?;
            let found = element.text().await.map_err(|why| why.to_string())?;
            if right(&found) { Ok(()) } else { Err(format!("{css} shows {found:?}")) }
        })
        .await;
    }
}
