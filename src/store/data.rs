//! What a command can reach that needs no connection: the keys and the subscriptions.
//!
//! Clients, transactions, scripts and the replay of the log all run such commands through
//! [`Data::call`]; it notes what they changed. `Data` is handed as a whole to the script that runs.

use super::command::{Command, Flags, Run};
use super::error::{CommandError, Outcome};
use super::keyspace::Keyspace;
use super::pubsub::PubSub;
use super::reply::Reply;
use super::resp::Args;

/// The store's contents and who listens.
#[derive(Debug, Default)]
pub struct Data {
    /// All keys.
    pub keys: Keyspace,
    /// All subscriptions.
    pub pubsub: PubSub,
}

impl Data {
    /// An empty store.
    pub fn new() -> Self {
        Self { keys: Keyspace::new(), pubsub: PubSub::default() }
    }

    /// Runs a command that needs no connection, in the selected database.
    pub fn call(&mut self, command: &Command, args: &Args, out: &mut Reply) -> Outcome {
        let (changes, db) = (self.keys.changes, self.keys.selected);
        let writing = command.flags.has(Flags::WRITE);
        if writing && self.keys.journal.is_full() {
            return Err(CommandError::new("OOM one script or transaction may not change so much"));
        }
        self.keys.writing = writing;
        let outcome = match command.run {
            Run::Keys(run) => run(&mut self.keys, args, out),
            Run::Data(run) => run(self, args, out),
            Run::Server(_) => Err(CommandError::new("ERR This Redis command is not allowed from script")),
        };
        self.keys.writing = false;
        if self.keys.changes != changes {
            self.keys.journal.record(db, args);
        }
        self.keys.journal.next_command();
        outcome
    }
}
