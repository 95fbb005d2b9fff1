//! Fetches the keys of `auth.jwks`, if that is a URL, and keeps them fresh.
//!
//! The rule: whatever happens to that URL, the server keeps serving, and the keys that were fetched last stay
//! valid. A token with an unknown key may hint at a new key, but such tokens trigger at most one fetch every
//! half minute.

use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::Uri;
use tokio::time::{sleep, sleep_until};

use crate::auth::{JWKS_BYTES, KeySet};
use crate::http::App;
use crate::net::https::get;

/// How long one fetch may take.
const WITHIN: Duration = Duration::from_secs(10);
/// The shortest and the longest time that an answer is valid, and the time if it does not say.
const SHORTEST: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(24 * 3600);
const USUAL: Duration = Duration::from_secs(3600);
/// The pause after a failed fetch, and between two fetches that tokens trigger.
const AGAIN: Duration = Duration::from_secs(30);
/// The time between two checks whether the configuration names another URL.
const LOOK: Duration = Duration::from_secs(1);

/// Fetches a set of keys, and returns it with how long it is valid.
///
/// # Errors
/// Says why there is none.
pub async fn fetch(address: &Uri) -> Result<(KeySet, Duration), String> {
    let fetched = get(address, JWKS_BYTES, WITHIN).await?;
    let keys = KeySet::from_jwks(&fetched.body, false).map_err(|why| format!("the answer {why}"))?;
    Ok((keys, fetched.max_age.unwrap_or(USUAL).clamp(SHORTEST, LONGEST)))
}

/// Keeps the keys fresh. Runs until it is dropped.
pub async fn keep_fresh(app: Arc<App>) {
    let mut address: Option<Uri> = None;
    let (mut due, mut last): (Option<Instant>, Option<Instant>) = (None, None);
    let mut failing = false;
    loop {
        let wanted = app.config().auth.jwks.clone();
        if wanted != address {
            // The keys of a URL that is no longer trusted are not valid any more.
            app.tokens.fetched(KeySet::default());
            (due, last, failing) = (wanted.as_ref().map(|_| Instant::now()), None, false);
            address = wanted;
        }
        if let Some(address) = address.as_ref().filter(|_| due.is_some_and(|due| due <= Instant::now())) {
            last = Some(Instant::now());
            let pause = match fetch(address).await {
                Ok((keys, holds)) => {
                    if std::mem::take(&mut failing) {
                        tracing::info!(%address, "auth.jwks is fetched again");
                    }
                    tracing::debug!(keys = keys.0.len(), ?holds, "fetched auth.jwks");
                    app.tokens.fetched(keys);
                    holds
                }
                Err(why) => {
                    app.metrics.key_fetches_failed.inc();
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(%address, why, "cannot fetch auth.jwks; the keys known so far count, trying again");
                    }
                    AGAIN
                }
            };
            due = Some(Instant::now() + pause);
            continue;
        }
        let wake = async {
            match due {
                Some(due) => sleep_until(due.into()).await,
                None => pending().await,
            }
        };
        tokio::select! {
            () = wake => {}
            () = sleep(LOOK) => {}
            () = app.tokens.unknown_key.notified(), if address.is_some() => {
                let allowed = last.map_or_else(Instant::now, |last| last + AGAIN);
                due = due.map(|due| due.min(allowed));
            }
        }
    }
}
