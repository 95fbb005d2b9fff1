//! A well-behaved WebSocket client: tokio-tungstenite, an implementation that the server's own code
//! has no part in choosing. It answers pings and remembers every message.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::node::Node;
use super::{Deadline, SOON};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// One open socket and all that came over it.
pub struct Client {
    inbox: Arc<Inbox>,
    outgoing: mpsc::Sender<Message>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Inbox {
    received: Mutex<Received>,
    changed: Notify,
}

#[derive(Default)]
struct Received {
    messages: Vec<Value>,
    closed: Option<Closed>,
}

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// The server's close code: `None` where the connection just broke.
    pub code: Option<u16>,
    /// The server's reason, empty where there is none.
    pub reason: String,
    pub at: Instant,
}

impl Client {
    /// Opens a socket with this query, such as `channel=a&watch=b`.
    pub async fn open(node: &Node, query: &str) -> Client {
        Client::try_open(node.address, query).await.unwrap()
    }

    /// Opens a socket that joins these channels.
    pub async fn join(node: &Node, channels: &[&str]) -> Client {
        let query: Vec<String> = channels.iter().map(|channel| format!("channel={channel}")).collect();
        Client::open(node, &query.join("&")).await
    }

    /// Opens a socket with headers of its own.
    pub async fn open_with(node: &Node, query: &str, headers: &[(&'static str, &str)]) -> Client {
        Client::try_open_with(node.address, query, headers).await.unwrap()
    }

    /// Opens a socket, or says why the server would not have it.
    pub async fn try_open(to: SocketAddr, query: &str) -> Result<Client, String> {
        Client::try_open_with(to, query, &[]).await
    }

    /// [`Client::try_open`] with headers of its own.
    pub async fn try_open_with(
        to: SocketAddr,
        query: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Client, String> {
        let address = format!("ws://{to}/ws?{query}");
        let mut request = address.as_str().into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().append(*name, value.parse().unwrap());
        }
        let (socket, _) = match timeout(SOON, connect_async(request)).await {
            Ok(Ok(open)) => open,
            Ok(Err(why)) => return Err(format!("{address}: {why}")),
            Err(_) => return Err(format!("{address}: no answer within {SOON:?}")),
        };
        let inbox = Arc::new(Inbox::default());
        let (outgoing, commands) = mpsc::channel(64);
        let task = tokio::spawn(run(socket, Arc::clone(&inbox), commands));
        Ok(Client { inbox, outgoing, task })
    }

    /// Sends one JSON object.
    pub async fn send(&self, object: Value) {
        self.outgoing.send(Message::text(object.to_string())).await.expect("the socket is open");
    }

    /// Joins a channel and waits for the answer to it, `subscribed` or `error`.
    pub async fn subscribe(&self, channel: &str) -> Value {
        self.ask("subscribe", "subscribed", channel).await
    }

    /// Watches a channel and waits for the answer to it.
    pub async fn watch(&self, channel: &str) -> Value {
        self.ask("watch", "watching", channel).await
    }

    /// Leaves a channel and waits for the answer to it.
    pub async fn unsubscribe(&self, channel: &str) -> Value {
        self.ask("unsubscribe", "unsubscribed", channel).await
    }

    async fn ask(&self, request: &str, reply: &str, channel: &str) -> Value {
        let before = self.messages().len();
        self.send(json!({ request: [channel] })).await;
        self.until(&format!("an answer to {request} {channel}"), SOON, |messages| {
            let answers = |m: &&Value| m[reply] == channel || m["error"]["channel"] == channel;
            messages[before..].iter().find(answers).cloned()
        })
        .await
    }

    /// Every message so far, in order.
    pub fn messages(&self) -> Vec<Value> {
        self.inbox.received.lock().unwrap().messages.clone()
    }

    /// Every payload that came over a channel so far, in order; answers to a join are not among them.
    pub fn payloads(&self, channel: &str) -> Vec<Value> {
        let messages = self.messages();
        messages.into_iter().filter(|m| m["channel"] == channel).map(|m| m["data"].clone()).collect()
    }

    /// The last value that this client was told about a channel.
    pub fn last(&self, channel: &str) -> Option<Value> {
        let about = |m: &&Value| {
            ["channel", "subscribed", "watching"].iter().any(|key| m[key] == channel) && !m["data"].is_null()
        };
        let received = self.inbox.received.lock().unwrap();
        received.messages.iter().rev().find(about).map(|m| m["data"].clone())
    }

    /// `Ok` where the last value on the channel is this one.
    pub fn sees(&self, channel: &str, value: impl Into<Value>) -> Result<(), String> {
        super::same(&format!("the last value on {channel}"), self.last(channel), Some(value.into()))
    }

    /// Waits until the last value on the channel is this one.
    pub async fn shows(&self, channel: &str, value: impl Into<Value>) {
        let value = value.into();
        let what = format!("{channel} shows {value}");
        self.until(&what, SOON, |_| self.sees(channel, value.clone()).ok()).await;
    }

    /// Waits until `find` finds something in all that was received.
    pub async fn until<T>(&self, what: &str, within: Duration, mut find: impl FnMut(&[Value]) -> Option<T>) -> T {
        let deadline = Deadline::within(within);
        loop {
            let changed = self.inbox.changed.notified();
            let messages = self.messages();
            if let Some(found) = find(&messages) {
                return found;
            }
            if timeout(deadline.left(), changed).await.is_err() && deadline.has_passed() {
                let tail = &messages[messages.len().saturating_sub(8)..];
                panic!(
                    "{what}: not within {within:?}; {:?}; the last of {} messages: {tail:?}",
                    self.closed(),
                    messages.len()
                );
            }
        }
    }

    /// How the connection ended, if it has.
    pub fn closed(&self) -> Option<Closed> {
        self.inbox.received.lock().unwrap().closed.clone()
    }

    /// Waits for the server to end the connection.
    pub async fn closes(&self, within: Duration) -> Closed {
        self.until("the server closes", within, |_| self.closed()).await
    }

    /// Closes as the protocol has it, and waits for the end.
    pub async fn close(self) {
        self.outgoing.send(Message::Close(None)).await.ok();
        self.until("the close handshake ends", SOON, |_| self.closed()).await;
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(mut socket: Socket, inbox: Arc<Inbox>, mut commands: mpsc::Receiver<Message>) {
    let (mut code, mut reason) = (None, String::new());
    loop {
        tokio::select! {
            command = commands.recv() => match command {
                Some(message) => if socket.send(message).await.is_err() { break },
                None => break,
            },
            message = socket.next() => match message {
                Some(Ok(Message::Text(text))) => {
                    let value = serde_json::from_str(&text).unwrap_or_else(|_| Value::String(text.to_string()));
                    inbox.received.lock().unwrap().messages.push(value);
                    inbox.changed.notify_waiters();
                }
                Some(Ok(Message::Close(frame))) => {
                    code = Some(frame.as_ref().map_or(1005, |frame| frame.code.into()));
                    reason = frame.map_or_else(String::new, |frame| frame.reason.to_string());
                }
                Some(Ok(_)) => {}
                Some(Err(tungstenite::Error::ConnectionClosed)) | None | Some(Err(_)) => break,
            },
        }
    }
    inbox.received.lock().unwrap().closed = Some(Closed { code, reason, at: Instant::now() });
    inbox.changed.notify_waiters();
}
