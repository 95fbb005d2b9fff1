//! Clients that wait for a key: who waits, who is served, whose time is up.
//!
//! A blocked client keeps its command. When one of its keys changes, the command runs again; if there
//! is still nothing for it, the client goes on waiting in its place in the line.

use std::collections::{BTreeSet, HashMap};

use super::client::Blocked;
use super::command;
use super::error::{Block, CommandError, WRONGTYPE};
use super::pubsub::Slot;
use super::reply::Reply;
use super::resp::ArgList;
use super::server::Server;
use super::small_bytes::SmallBytes;

/// The lines of waiting clients.
#[derive(Debug, Default)]
pub struct Waiting {
    lines: HashMap<(usize, SmallBytes), Vec<Slot>>,
    deadlines: BTreeSet<(u64, Slot)>,
}

impl Waiting {
    /// When the first wait ends.
    pub fn next_deadline(&self) -> Option<u64> {
        self.deadlines.first().map(|(at, _)| *at)
    }
}

impl Server {
    /// Makes a client wait.
    pub fn block(&mut self, slot: Slot, args: &super::resp::Args, block: Block) {
        let Some(client) = self.clients.get_mut(slot) else {
            return;
        };
        let db = client.db;
        let args = args.iter().map(|arg| SmallBytes::new(arg)).collect();
        for key in &block.keys {
            let line = self.waiting.lines.entry((db, key.clone())).or_default();
            if !line.contains(&slot) {
                line.push(slot);
                self.data.keys.await_key(db, key, true);
            }
        }
        if let Some(until) = block.until {
            self.waiting.deadlines.insert((until, slot));
        }
        client.blocked = Some(Blocked { args, block });
        self.blocked += 1;
    }

    /// Takes a client out of all lines; its reply has been given, or never will be.
    pub fn unblock(&mut self, slot: Slot) {
        let Some(client) = self.clients.get_mut(slot) else {
            return;
        };
        let Some(blocked) = client.blocked.take() else {
            return;
        };
        let db = client.db;
        self.blocked -= 1;
        if let Some(until) = blocked.block.until {
            self.waiting.deadlines.remove(&(until, slot));
        }
        for key in blocked.block.keys {
            let place = (db, key);
            if let Some(line) = self.waiting.lines.get_mut(&place) {
                let before = line.len();
                line.retain(|waiting| *waiting != slot);
                if line.len() != before {
                    self.data.keys.await_key(db, &place.1, false);
                }
                if line.is_empty() {
                    self.waiting.lines.remove(&place);
                }
            }
        }
        self.resumed.push(slot);
    }

    /// Serves those whose keys have changed, first come first.
    pub fn serve_ready(&mut self) {
        let selected = self.data.keys.selected;
        while !self.data.keys.ready.is_empty() {
            for place in std::mem::take(&mut self.data.keys.ready) {
                for slot in self.waiting.lines.get(&place).cloned().unwrap_or_default() {
                    self.try_again(slot);
                }
            }
        }
        self.data.keys.selected = selected;
    }

    fn try_again(&mut self, slot: Slot) {
        let Some(client) = self.clients.get_mut(slot) else {
            return;
        };
        let Some(blocked) = client.blocked.take() else {
            return;
        };
        let mut out = Reply { buf: Vec::new(), resp3: client.reply.resp3 };
        self.data.keys.selected = client.db;
        let args: ArgList = blocked.args.iter().map(|arg| &**arg).collect();
        let outcome = match command::find(args[0]) {
            Some(command) => self.data.call(command, &args, &mut out),
            None => Ok(()),
        };
        drop(args);
        self.data.keys.journal.commit();
        let Some(client) = self.clients.get_mut(slot) else {
            return;
        };
        client.blocked = Some(blocked);
        match outcome {
            Ok(()) => client.reply.buf.append(&mut out.buf),
            Err(CommandError::Block(_)) => return,
            // The key is there but of another type, which a waiting client does not mind.
            Err(CommandError::Error(text)) if matches!(&WRONGTYPE, CommandError::Error(wrong) if *wrong == text) => {
                return;
            }
            Err(CommandError::Error(text)) => client.reply.error(&text),
        }
        self.unblock(slot);
        self.schedule(slot);
    }

    /// Ends the waits whose time is up.
    pub fn time_out(&mut self) {
        while let Some(&(until, slot)) = self.waiting.deadlines.first()
            && until <= self.data.keys.now
        {
            self.waiting.deadlines.pop_first();
            if let Some(client) = self.clients.get_mut(slot) {
                client.reply.null_array();
            }
            self.unblock(slot);
            self.schedule(slot);
        }
    }
}
