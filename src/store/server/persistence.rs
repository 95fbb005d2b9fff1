//! Writes the changes of commands to the log.

use super::StoreServer;
use super::client::Client;
use crate::store::pubsub::ClientSlot;

/// Writes the round's changes to the log, and syncs or rewrites the log if that is due.
pub fn write_log(server: &mut StoreServer) {
    let Some(log) = &mut server.log else { return };
    let round = log.write_round(&mut server.data.keys);
    if round.rewritten {
        server.stats.last_save = server.data.keys.now;
        server.stats.rewrites += 1;
        server.stats.saved_changes = server.data.keys.changes;
    }
    if round.unsafe_changes {
        drop_unsafe(server);
    }
}

/// Rewrites the whole log now.
pub fn save(server: &mut StoreServer) -> Result<(), String> {
    server.request_rewrite(true);
    write_log(server);
    match server.log.as_ref().and_then(|log| log.rewrite_problem().or(log.problem())) {
        Some(problem) => Err(problem.to_owned()),
        None => Ok(()),
    }
}

/// Begins to rewrite the log; the rewrite continues between rounds.
pub fn begin_rewrite(server: &mut StoreServer) -> Result<(), String> {
    server.request_rewrite(false);
    write_log(server);
    let begun = server.log.as_ref().filter(|log| !log.is_rewriting()).and_then(|log| log.rewrite_problem());
    begun.map_or(Ok(()), |problem| Err(problem.to_owned()))
}

/// Writes changes to the log before the end of the round, if there are many.
pub fn relieve(server: &mut StoreServer) {
    if server.data.keys.journal.is_large() {
        write_log(server);
    }
}

/// Drops all clients with pending output, because it may confirm a change that is not on disk.
fn drop_unsafe(server: &mut StoreServer) {
    let answered = |client: &Client| client.pending() > 0;
    let clients = &server.clients;
    let is_answered = |slot: &ClientSlot| clients.get(*slot).is_some_and(|client| answered(client));
    let slots: Vec<ClientSlot> = server.scheduled.iter().copied().filter(is_answered).collect();
    for slot in slots {
        if let Some(client) = server.clients.get_mut(slot) {
            client.reply.buf.truncate(client.sent);
        }
        server.doom(slot);
    }
}

/// Writes everything to the log and forces it onto the disk, when the store closes.
pub fn close_log(server: &mut StoreServer) {
    server.data.keys.journal.commit();
    write_log(server);
    if let Some(log) = &mut server.log {
        log.close(&mut server.data.keys);
    }
}
