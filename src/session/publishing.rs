//! Messages that clients publish over their WebSocket, and the answers.

use tokio::sync::{mpsc, oneshot};

use super::keepalive::SocketKey;
use super::outbound::Published;
use super::request::{Publish, short};
use super::rest;
use super::worker::Worker;
use crate::hub::{PublishError, SocketId, rights, wire};

/// Publishes a client's message. The answer comes once the store has it.
pub(super) fn publish(worker: &mut Worker, id: SocketId, publish: &Publish) {
    let Some(slot) = worker.slot(id) else { return };
    let (key, channel) = ((id, slot.generation), publish.channel.clone());
    let sent = rights::may_publish(&worker.shard, id, &channel, &publish.data)
        .and_then(|()| worker.outbound.publisher.publish(rights::grant(&worker.shard, id), &channel, &publish.data));
    match sent {
        Ok(answer) => drop(tokio::spawn(pass_on(key, channel, answer, worker.outbound.answers.clone()))),
        Err(why) => {
            if why == PublishError::TooOften {
                rest::begin(worker, id);
            }
            worker.shard.send(id, refusal(&channel, &why));
        }
    }
}

/// Tells a client what happened to its message.
pub(super) fn answer(worker: &mut Worker, published: Published) {
    let Published { key, channel, outcome } = published;
    if worker.alive(key).is_some() {
        let frame = outcome.map_or_else(|why| refusal(&channel, &why), |()| wire::published(&channel));
        worker.shard.send(key.0, frame);
    }
}

fn refusal(channel: &str, why: &PublishError) -> bytes::Bytes {
    wire::not_published(why.code(), short(channel), &why.to_string())
}

/// Passes an outcome on to the worker. If the publisher ends first, no outcome comes.
async fn pass_on(
    key: SocketKey,
    channel: String,
    answer: oneshot::Receiver<Result<(), PublishError>>,
    answers: mpsc::Sender<Published>,
) {
    if let Ok(outcome) = answer.await {
        let _ = answers.try_send(Published { key, channel, outcome });
    }
}
