//! One connection to the store: how it is made, and what it runs over.
//!
//! The client and the subscriber connect in the same way: to the named server or to the primary that
//! the sentinels name, plain or encrypted. The rule: each attempt has a deadline, and an answer from the
//! store is told apart from silence.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, ConnectionAddr, ErrorKind, ProtocolVersion, PushInfo, RedisConnectionInfo, RedisError, Value,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

use super::error::Error;
use super::inbox::Inbox;
use super::sentinel::Votes;
use super::tls;
use crate::config::{self, HostPort, StoreAddress};

/// The time between two checks whether the sentinels name another primary.
const LOOK: Duration = Duration::from_millis(500);

/// Why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// Nobody answers.
    Away(String),
    /// The store answers but refuses, or we do not trust it.
    Refused(String),
}

impl Failure {
    pub fn into_reason(self) -> String {
        match self {
            Self::Away(why) | Self::Refused(why) => why,
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Away(error.to_string())
    }
}

impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Self {
        match (Error::of(&error), error.kind()) {
            // The library does not pass on the server's own message.
            (_, ErrorKind::AuthenticationFailed) => {
                Self::Refused("WRONGPASS the user or password for redis.url is not accepted".to_owned())
            }
            (_, ErrorKind::RESP3NotSupported) => {
                Self::Refused("NOPROTO it does not speak RESP3; Redis does since version 6".to_owned())
            }
            (answered @ (Error::Refused(_) | Error::Key(_) | Error::Reply(_)), _) => Self::Refused(answered.reason()),
            // A server that requires a client certificate says so only after the handshake.
            (Error::Lost(why), _) if why.contains("fatal alert") => Self::Refused(format!("TLS {why}")),
            (away, _) => Self::Away(away.reason()),
        }
    }
}

/// A user and password to use in place of those in the URL.
#[derive(Clone)]
pub struct Credentials {
    /// The user's name.
    pub user: String,
    /// The password.
    pub password: String,
}

/// Makes connections to the one store of the configuration.
#[derive(Clone)]
pub(super) struct Connector {
    address: Arc<StoreAddress>,
    /// If set, used in place of the server in the address.
    server: Option<HostPort>,
    config: Arc<config::Redis>,
    /// If set, used in place of the credentials in the URL.
    credentials: watch::Receiver<Option<Credentials>>,
    /// The store's address in a form that may be shown.
    pub shown: Arc<str>,
    /// The longest wait for an answer.
    pub response_timeout: Duration,
}

impl Connector {
    pub fn new(config: &config::Redis, credentials: watch::Receiver<Option<Credentials>>) -> Result<Self, RedisError> {
        let unknown = || RedisError::from((ErrorKind::InvalidClientConfig, "it names no store"));
        Ok(Self {
            address: Arc::new(StoreAddress::parse(&config.url).ok_or_else(unknown)?),
            server: None,
            shown: config.shown().into(),
            response_timeout: config.response_timeout,
            config: Arc::new(config.clone()),
            credentials,
        })
    }

    /// Returns the same connector, but for one server of a cluster.
    pub fn to(&self, server: &HostPort) -> Self {
        let (host, port) = server;
        let shown = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        Self { server: Some(server.clone()), shown: shown.into(), ..self.clone() }
    }

    /// The cluster servers that the address names; empty if the store is not a cluster.
    pub fn seeds(&self) -> &[HostPort] {
        &self.address.seeds
    }

    /// The user, password and other settings to connect with now.
    fn settings(&self) -> RedisConnectionInfo {
        let settings = self.address.info.redis_settings().clone();
        match self.credentials.borrow().clone() {
            Some(own) => settings.set_username(own.user).set_password(own.password),
            None => settings,
        }
    }

    /// Makes a connection for commands.
    pub async fn commands(&self) -> Result<Connection, Failure> {
        let timeout = self.response_timeout;
        let config = move || AsyncConnectionConfig::new().set_response_timeout(Some(timeout));
        self.connect(None, &self.settings(), &config).await
    }

    /// Makes a connection for a subscription. `receive` gets what the store pushes; nothing is read while
    /// `inbox` is full.
    pub async fn subscription(
        &self,
        inbox: &Arc<Inbox>,
        receive: impl Fn(PushInfo) -> Result<(), ()> + Send + Sync + 'static,
    ) -> Result<Connection, Failure> {
        let receive = Arc::new(receive);
        let config = move || {
            let receive = receive.clone();
            AsyncConnectionConfig::new().set_response_timeout(None).set_push_sender(move |push| receive(push))
        };
        let settings = self.settings().set_protocol(ProtocolVersion::RESP3);
        self.connect(Some(inbox), &settings, &config).await
    }

    /// Makes a connection for commands on which `receive` gets what the store pushes besides the replies. There is
    /// no backpressure, so `receive` must bound what it keeps.
    pub async fn commands_and_pushes(
        &self,
        receive: impl Fn(PushInfo) -> Result<(), ()> + Send + Sync + 'static,
    ) -> Result<Connection, Failure> {
        let (receive, limit) = (Arc::new(receive), self.response_timeout);
        let config = move || {
            let receive = receive.clone();
            let config = AsyncConnectionConfig::new().set_response_timeout(Some(limit));
            config.set_push_sender(move |push| receive(push))
        };
        let settings = self.settings().set_protocol(ProtocolVersion::RESP3);
        self.connect(None, &settings, &config).await
    }

    /// The sentinels' addresses; empty if the address names the server itself.
    fn sentinels(&self) -> &[HostPort] {
        self.address.sentinels.as_ref().map_or(&[], |sentinels| &sentinels.addresses)
    }

    /// Whether this answer means that another server is the primary by now, so that this one must be left.
    pub fn is_no_primary(&self, answer: &Error) -> bool {
        !self.sentinels().is_empty() && matches!(answer, Error::Refused(why) if why.starts_with("READONLY"))
    }

    /// Waits until the sentinels name a primary other than `from`. Never returns if `from` is None, which
    /// means that there are no sentinels.
    pub async fn moved(&self, from: Option<&HostPort>) -> String {
        let Some(from) = from else { return std::future::pending().await };
        loop {
            sleep(LOOK).await;
            let votes = self.ask_sentinels().await;
            if let Some((host, port)) = votes.elected().filter(|server| *server != from) {
                return format!("the sentinels name another primary: {host}:{port}");
            }
        }
    }

    /// Asks all sentinels at once.
    async fn ask_sentinels(&self) -> Votes {
        let mut asking = JoinSet::new();
        for place in 0..self.sentinels().len() {
            let connector = self.clone();
            asking.spawn(async move { connector.ask_sentinel(place).await.map_err(Failure::into_reason) });
        }
        Votes::count(asking.join_all().await)
    }

    async fn connect(
        &self,
        inbox: Option<&Arc<Inbox>>,
        settings: &RedisConnectionInfo,
        config: &impl Fn() -> AsyncConnectionConfig,
    ) -> Result<Connection, Failure> {
        if self.sentinels().is_empty() {
            let connecting =
                async { Connection::over(self.stream(self.server.as_ref()).await?, inbox, settings, config()).await };
            return self.in_time(connecting).await;
        }
        let votes = self.ask_sentinels().await;
        let mut failure = Failure::Away(format!("no sentinel names the primary; one says: {}", votes.why));
        for (server, _) in votes.servers {
            let connecting = async {
                let mut connection =
                    Connection::over(self.stream(Some(&server)).await?, inbox, settings, config()).await?;
                connection.check_role(&server).await?;
                connection.server = Some(server);
                Ok(connection)
            };
            match self.in_time(connecting).await {
                Ok(connection) => return Ok(connection),
                Err(why) => failure = why,
            }
        }
        Err(failure)
    }

    /// Asks one of the sentinels which server is the primary.
    async fn ask_sentinel(&self, place: usize) -> Result<HostPort, Failure> {
        let (Some(sentinels), Some(at)) = (&self.address.sentinels, self.sentinels().get(place)) else {
            return Err(Failure::Away("there is no such sentinel".to_owned()));
        };
        let mut settings = RedisConnectionInfo::default();
        if !self.config.sentinel_user.is_empty() {
            settings = settings.set_username(&self.config.sentinel_user);
        }
        if let Some(password) = &self.config.sentinel_password {
            settings = settings.set_password(password);
        }
        let asking = async {
            let stream = self.stream(Some(at)).await?;
            let mut connection = Connection::over(stream, None, &settings, AsyncConnectionConfig::new()).await?;
            let mut question = redis::cmd("SENTINEL");
            question.arg("GET-MASTER-ADDR-BY-NAME").arg(&sentinels.primary);
            let answer: Option<(String, u16)> = question.query_async(&mut connection.commands).await?;
            answer.ok_or_else(|| Failure::Refused(format!("it knows no primary named {}", sentinels.primary)))
        };
        self.in_time(asking).await
    }

    async fn in_time<T>(&self, attempt: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        let limit = self.config.connect_timeout;
        timeout(limit, attempt).await.unwrap_or_else(|_| Err(Failure::Away(format!("no answer within {limit:?}"))))
    }

    /// Opens a stream to `server`, or to the one in the address if None.
    async fn stream(&self, server: Option<&HostPort>) -> Result<Box<dyn Stream>, Failure> {
        let (host, port) = match (server, self.address.info.addr()) {
            (Some((host, port)), _) => (host, *port),
            (None, ConnectionAddr::Tcp(host, port)) => (host, *port),
            (None, ConnectionAddr::Unix(path)) => return Ok(Box::new(UnixStream::connect(path).await?)),
            (None, _) => return Err(Failure::Away("only TCP and Unix sockets are supported".to_owned())),
        };
        let stream = TcpStream::connect((host.as_str(), port)).await?;
        stream.set_nodelay(true)?;
        if !self.address.tls {
            return Ok(Box::new(stream));
        }
        let encrypted = tls::encrypt(&self.config.tls, host, stream).await;
        Ok(Box::new(encrypted.map_err(|why| Failure::Refused(format!("TLS {why}")))?))
    }
}

/// An established connection; closed on drop.
pub(super) struct Connection {
    pub commands: MultiplexedConnection,
    /// The task that reads and writes; ends when the connection does.
    pub driver: JoinHandle<()>,
    /// The server, if sentinels named it.
    pub server: Option<HostPort>,
}

impl Connection {
    async fn over(
        io: Box<dyn Stream>,
        inbox: Option<&Arc<Inbox>>,
        settings: &RedisConnectionInfo,
        config: AsyncConnectionConfig,
    ) -> Result<Self, Failure> {
        let gated = Gated { io, inbox: inbox.cloned() };
        let (commands, driver) = MultiplexedConnection::new_with_config(settings, gated, config).await?;
        Ok(Self { commands, driver: tokio::spawn(driver), server: None })
    }

    /// Asks the server for its role: sentinels may be wrong, and a primary may have become a replica meanwhile.
    async fn check_role(&mut self, (host, port): &HostPort) -> Result<(), Failure> {
        let role = self.commands.send_packed_command(&redis::cmd("ROLE")).await;
        match role.map(Value::extract_error) {
            Ok(Ok(Value::Array(parts))) if parts.first() == Some(&Value::BulkString(b"master".to_vec())) => Ok(()),
            // If we may not ask, the first write will show whether it is a replica.
            Ok(Err(_)) => Ok(()),
            Ok(Ok(_)) => Err(Failure::Refused(format!("READONLY {host}:{port} is named the primary and is a replica"))),
            Err(error) => Err(error.into()),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// A transport that a connection may run over.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A stream that is read only while the inbox has room.
struct Gated {
    io: Box<dyn Stream>,
    /// If None, the stream is always read.
    inbox: Option<Arc<Inbox>>,
}

impl AsyncRead for Gated {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Some(inbox) = &self.inbox {
            std::task::ready!(inbox.poll_room(cx));
        }
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Gated {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
