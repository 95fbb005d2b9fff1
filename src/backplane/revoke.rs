//! `headcount revoke`: revokes tokens on all servers that share a store.

use redis::{FromRedisValue, Value};
use tokio::sync::watch;
use tokio::time::timeout;

use super::connect::{Connector, Failure};
use super::error::Error;
use super::keys::Keys;
use crate::config;

/// Revokes a name until `until`, in milliseconds since 1970, and tells all servers. Returns the time until which
/// it is revoked: an earlier revocation that lasts longer stays in effect.
///
/// # Errors
/// Says why the store may not have recorded it.
pub async fn revoke(config: &config::Redis, name: &str, until: u64) -> Result<u64, String> {
    let (_, nobody_else) = watch::channel(None);
    let connector = Connector::new(config, nobody_else).map_err(|error| error.to_string())?;
    let mut connection = connector.commands().await.map_err(Failure::into_reason)?;
    let key = Keys::new(&config.key_prefix).revoked();
    let limit = connector.response_timeout;
    let mut ask = async |command: &redis::Cmd| -> Result<Value, String> {
        let answer = timeout(limit, command.query_async::<Value>(&mut connection.commands)).await;
        let answer = answer.map_err(|_| format!("no answer within {limit:?}"))?;
        answer.map_err(|error| Error::of(&error).to_string())
    };
    // The set comes first: servers that hear the message read the set.
    ask(redis::cmd("ZADD").arg(&key).arg("GT").arg(until).arg(name)).await?;
    let score = ask(redis::cmd("ZSCORE").arg(&key).arg(name)).await?;
    ask(redis::cmd("PUBLISH").arg(&key).arg(name)).await?;
    f64::from_redis_value(score).map(|score| score as u64).map_err(|error| error.to_string())
}
