//! One connection to the store: how it is made, and what it runs over.
//!
//! The client and the subscriber connect in the same way. The rule: a connection is made within its
//! deadline, and the store's answer to it is told from its silence.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, PushInfo,
    RedisConnectionInfo, RedisError,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::error::Error;
use super::inbox::Inbox;
use crate::config;

/// Why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// Nobody answers.
    Away(String),
    /// The store answers, and refuses.
    Refused(String),
}

impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Self {
        match (Error::of(&error), error.kind()) {
            // The library keeps what the server said of it to itself.
            (_, redis::ErrorKind::AuthenticationFailed) => {
                Self::Refused("WRONGPASS the user or password for redis.url is not accepted".to_owned())
            }
            (_, redis::ErrorKind::RESP3NotSupported) => {
                Self::Refused("NOPROTO it does not speak RESP3; Redis does since version 6".to_owned())
            }
            (answered @ (Error::Refused(_) | Error::Key(_) | Error::Reply(_)), _) => Self::Refused(answered.reason()),
            (away, _) => Self::Away(away.reason()),
        }
    }
}

/// A user and password that stand in for those of the URL.
#[derive(Clone)]
pub struct Credentials {
    /// The user's name.
    pub user: String,
    /// The password.
    pub password: String,
}

/// Makes connections to the one store of the configuration.
pub(super) struct Connector {
    info: ConnectionInfo,
    /// Used in place of the URL's while there are any.
    credentials: watch::Receiver<Option<Credentials>>,
    /// The store's address as it may be shown.
    pub shown: String,
    connect_timeout: Duration,
    /// The longest wait for an answer.
    pub response_timeout: Duration,
}

impl Connector {
    pub fn new(config: &config::Redis, credentials: watch::Receiver<Option<Credentials>>) -> Result<Self, RedisError> {
        Ok(Self {
            info: config.url.as_str().into_connection_info()?,
            credentials,
            shown: config.shown(),
            connect_timeout: config.connect_timeout,
            response_timeout: config.response_timeout,
        })
    }

    /// As whom to connect now, and in what way.
    fn settings(&self) -> RedisConnectionInfo {
        let settings = self.info.redis_settings().clone();
        match self.credentials.borrow().clone() {
            Some(own) => settings.set_username(own.user).set_password(own.password),
            None => settings,
        }
    }

    /// A connection for commands.
    pub async fn commands(&self) -> Result<Connection, Failure> {
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(self.response_timeout));
        self.within_deadline(async {
            let stream = self.stream().await?;
            Connection::over(stream, &self.settings(), config).await
        })
        .await
    }

    /// A connection for a subscription: `receive` gets what the store pushes, and nothing is read while
    /// `inbox` is full.
    pub async fn subscription(
        &self,
        inbox: &Arc<Inbox>,
        receive: impl Fn(PushInfo) -> Result<(), ()> + Send + Sync + 'static,
    ) -> Result<Connection, Failure> {
        let config = AsyncConnectionConfig::new().set_response_timeout(None).set_push_sender(receive);
        let settings = self.settings().set_protocol(ProtocolVersion::RESP3);
        self.within_deadline(async {
            let gated = Gated { io: self.stream().await?, inbox: inbox.clone() };
            Connection::over(gated, &settings, config).await
        })
        .await
    }

    /// A connection for commands on which `receive` gets what the store pushes beside their replies. Nothing
    /// holds that back, so it must be bounded in itself.
    pub async fn commands_and_pushes(
        &self,
        receive: impl Fn(PushInfo) -> Result<(), ()> + Send + Sync + 'static,
    ) -> Result<Connection, Failure> {
        let config =
            AsyncConnectionConfig::new().set_response_timeout(Some(self.response_timeout)).set_push_sender(receive);
        let settings = self.settings().set_protocol(ProtocolVersion::RESP3);
        self.within_deadline(async { Connection::over(self.stream().await?, &settings, config).await }).await
    }

    async fn within_deadline(
        &self,
        connecting: impl Future<Output = Result<Connection, RedisError>>,
    ) -> Result<Connection, Failure> {
        match timeout(self.connect_timeout, connecting).await {
            Ok(made) => Ok(made?),
            Err(_) => Err(Failure::Away(format!("no answer within {:?}", self.connect_timeout))),
        }
    }

    async fn stream(&self) -> Result<Box<dyn Stream>, RedisError> {
        match self.info.addr() {
            ConnectionAddr::Unix(path) => Ok(Box::new(UnixStream::connect(path).await?)),
            ConnectionAddr::Tcp(host, port) => {
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                stream.set_nodelay(true)?;
                Ok(Box::new(stream))
            }
            _ => Err((redis::ErrorKind::InvalidClientConfig, "only TCP and Unix sockets are supported").into()),
        }
    }
}

/// A connection that was made. It ends when this is dropped.
pub(super) struct Connection {
    pub commands: MultiplexedConnection,
    /// Reads and writes; ends when the connection does.
    pub driver: JoinHandle<()>,
}

impl Connection {
    async fn over(
        stream: impl Stream + 'static,
        settings: &RedisConnectionInfo,
        config: AsyncConnectionConfig,
    ) -> Result<Self, RedisError> {
        let (commands, driver) = MultiplexedConnection::new_with_config(settings, stream, config).await?;
        Ok(Self { commands, driver: tokio::spawn(driver) })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// What a connection may run over.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A stream that is read only while the inbox has room.
struct Gated {
    io: Box<dyn Stream>,
    inbox: Arc<Inbox>,
}

impl AsyncRead for Gated {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        std::task::ready!(self.inbox.poll_room(cx));
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Gated {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
