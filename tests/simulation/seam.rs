//! The seam that a node's jobs call the store through.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::Poll;

use headcount::backplane::Error;
use headcount::presence::scripts::Store;
use redis::Cmd;

use crate::mutation::Mutation;

/// See the module.
#[derive(Clone, Default)]
pub struct Seam {
    calls: Arc<Mutex<Calls>>,
    mutation: Option<Mutation>,
}

#[derive(Default)]
struct Calls {
    up: bool,
    last: u64,
    out: Vec<(u64, Vec<u8>)>,
    replies: BTreeMap<u64, Result<redis::Value, Error>>,
}

impl Store for Seam {
    async fn call(&self, command: Cmd) -> Result<redis::Value, Error> {
        let bytes = command.get_packed_command();
        let bytes = match self.mutation.map(|mutation| mutation.rewrite(&command, bytes.clone())) {
            Some(None) => return Err(Error::Refused("NOSCRIPT a mutation has no hash".into())),
            Some(Some(bytes)) => bytes,
            None => bytes,
        };
        let call = {
            let mut calls = self.calls.lock().unwrap();
            if !calls.up {
                return Err(Error::Down);
            }
            calls.last += 1;
            let call = calls.last;
            calls.out.push((call, bytes));
            call
        };
        let reply = poll_fn(|_| match self.calls.lock().unwrap().replies.remove(&call) {
            Some(reply) => Poll::Ready(reply),
            None => Poll::Pending,
        })
        .await;
        match self.mutation {
            Some(mutation) => mutation.reply(&command, reply),
            None => reply,
        }
    }
}

impl Seam {
    pub fn new(mutation: Option<Mutation>) -> Self {
        Self { calls: Arc::default(), mutation }
    }

    /// The connection came up or went down.
    pub fn link(&self, up: bool) {
        self.calls.lock().unwrap().up = up;
    }

    /// A reply, for whoever waits for it.
    pub fn answer(&self, call: u64, reply: Result<redis::Value, Error>) {
        self.calls.lock().unwrap().replies.insert(call, reply);
    }

    /// What is to be sent.
    pub fn take_calls(&self) -> Vec<(u64, Vec<u8>)> {
        std::mem::take(&mut self.calls.lock().unwrap().out)
    }
}
