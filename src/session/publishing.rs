//! What clients publish by frame, and the answers to that.

use tokio::sync::{mpsc, oneshot};

use super::keepalive::Key;
use super::outbound::Published;
use super::request::Publish;
use super::worker::Worker;
use crate::hub::{PublishError, SocketId, wire};

impl Worker {
    /// Publishes a client's message. It is answered when the store has it.
    pub(super) fn publish(&mut self, id: SocketId, publish: &Publish) {
        let Some(slot) = self.slot(id) else { return };
        let (key, channel) = ((id, slot.generation), publish.channel.clone());
        let sent = self
            .shard
            .may_publish(id, &channel, &publish.data)
            .and_then(|()| self.outbound.publisher.publish(self.shard.grant(id), &channel, &publish.data));
        match sent {
            Ok(answer) => drop(tokio::spawn(pass_on(key, channel, answer, self.outbound.answers.clone()))),
            Err(why) => self.shard.send(id, refusal(&channel, &why)),
        }
    }

    /// Tells a client what became of its message.
    pub(super) fn tell_published(&mut self, published: Published) {
        let Published { key, channel, outcome } = published;
        if self.alive(key).is_some() {
            let frame = outcome.map_or_else(|why| refusal(&channel, &why), |()| wire::published(&channel));
            self.shard.send(key.0, frame);
        }
    }
}

fn refusal(channel: &str, why: &PublishError) -> bytes::Bytes {
    wire::errors(why.code(), super::actions::short(channel), &why.to_string(), &[])
}

/// However the publisher ends, its answer comes, or none ever will.
async fn pass_on(
    key: Key,
    channel: String,
    answer: oneshot::Receiver<Result<(), PublishError>>,
    answers: mpsc::Sender<Published>,
) {
    if let Ok(outcome) = answer.await {
        let _ = answers.try_send(Published { key, channel, outcome });
    }
}
