//! From an argument list to a reply: the ladder of guards, then the command.

use super::client::{ReplyMode, Transaction};
use super::command::{self, Command, Flags, Run};
use super::error::{CommandError, NOAUTH, OOM, Outcome};
use super::event_loop::UNREAD;
use super::pubsub::{Kind, Slot};
use super::reply::Reply;
use super::resp::Args;
use super::server::Server;
use super::small_bytes::SmallBytes;

/// Messages of one round are tried to be sent at its end, whatever the limit, as long as they are not
/// more than this.
const KEPT_UNSENT: usize = 1 << 20;

impl Server {
    /// Runs one request of a client, whose reply buffer the caller holds.
    pub fn execute(&mut self, slot: Slot, args: &Args, out: &mut Reply) {
        if args.is_empty() {
            return;
        }
        self.stats.commands += 1;
        let mark = out.buf.len();
        let command = match self.admit(slot, args) {
            Ok(command) => command,
            Err(fail) => return self.refuse(slot, args, fail, out),
        };
        let now = self.data.keys.now;
        let Some(client) = self.clients.get_mut(slot) else {
            return;
        };
        client.last_active = now;
        client.last_command = command.name;
        if client.mode == ReplyMode::SkipNext {
            client.mode = ReplyMode::Skipping;
        }
        if let Some(transaction) = &mut client.transaction
            && !command.flags.has(Flags::IN_MULTI)
        {
            enqueue(transaction, args, self.settings.max_query_buffer, out);
        } else {
            if self.monitors > 0 {
                self.show_to_monitors(slot, args);
            }
            self.run(slot, command, args, out);
        }
        self.end_of_command(slot, mark, out);
    }

    fn run(&mut self, slot: Slot, command: &'static Command, args: &Args, out: &mut Reply) {
        let mark = out.buf.len();
        match self.call(slot, command, args, out) {
            Ok(()) => {}
            Err(CommandError::Error(text)) => {
                out.buf.truncate(mark);
                out.error(&text);
                self.stats.error(&text);
            }
            Err(CommandError::Block(block)) => self.block(slot, args, *block),
        }
        if !self.data.pubsub.outbox.is_empty() {
            self.deliver(Some((slot, mark, out)));
        }
        self.data.keys.journal.commit();
        if !self.data.keys.ready.is_empty() {
            self.serve_ready();
        }
    }

    /// Runs a command that is past all guards; the caller turns a failure into a reply.
    pub fn call(&mut self, slot: Slot, command: &'static Command, args: &Args, out: &mut Reply) -> Outcome {
        let Some(client) = self.clients.get(slot) else {
            return Ok(());
        };
        let db = client.db;
        if command.name == "ping" && client.is_subscriber() && !out.resp3 {
            command::ping_subscriber(args, out);
            return Ok(());
        }
        self.data.keys.selected = db;
        let outcome = match command.run {
            Run::Server(run) => run(self, slot, args, out),
            Run::Keys(_) | Run::Data(_) => self.data.call(command, args, out),
        };
        if self.data.keys.selected != db
            && let Some(client) = self.clients.get_mut(slot)
        {
            client.db = self.data.keys.selected;
        }
        outcome
    }

    fn end_of_command(&mut self, slot: Slot, mark: usize, out: &mut Reply) {
        let Some(client) = self.clients.get_mut(slot) else {
            return;
        };
        match client.mode {
            ReplyMode::On | ReplyMode::SkipNext => {}
            ReplyMode::Off => out.buf.truncate(mark),
            ReplyMode::Skipping => {
                out.buf.truncate(mark);
                client.mode = ReplyMode::On;
            }
        }
    }

    /// The guards, in the order of Redis.
    fn admit(&mut self, slot: Slot, args: &Args) -> Result<&'static Command, CommandError> {
        let command = command::find(args[0]).ok_or_else(|| self.unknown(slot, args))?;
        if !command.takes(args.len()) {
            return Err(command::wrong_arity(command.name));
        }
        let Some(client) = self.clients.get(slot) else {
            return Err(NOAUTH);
        };
        if !client.authenticated && !command.flags.has(Flags::NO_AUTH) {
            return Err(NOAUTH);
        }
        if command.flags.has(Flags::DENY_OOM) && self.is_out_of_memory() {
            return Err(OOM);
        }
        if command.flags.has(Flags::WRITE)
            && let Some(problem) = self.log_problem()
        {
            return Err(CommandError::new(format!("MISCONF Errors writing to the AOF file: {problem}")));
        }
        if client.is_subscriber() && !client.reply.resp3 && !command.flags.has(Flags::WHILE_SUBSCRIBED) {
            let name = String::from_utf8_lossy(args[0]).to_lowercase();
            return Err(CommandError::new(format!(
                "ERR Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / \
                 RESET are allowed in this context"
            )));
        }
        if client.transaction.is_some() && command.flags.has(Flags::NO_MULTI) {
            return Err(CommandError::new("ERR Command not allowed inside a transaction"));
        }
        Ok(command)
    }

    fn refuse(&mut self, slot: Slot, args: &Args, fail: CommandError, out: &mut Reply) {
        if let Some(client) = self.clients.get_mut(slot)
            && let Some(transaction) = &mut client.transaction
        {
            transaction.failed = true;
        }
        let CommandError::Error(mut text) = fail else { return };
        if text.is_empty() {
            return;
        }
        if args[0].eq_ignore_ascii_case(b"exec") {
            let reason = text.strip_prefix("ERR ").unwrap_or(&text);
            text = format!("EXECABORT Transaction discarded because of: {reason}").into();
            if let Some(client) = self.clients.get_mut(slot) {
                client.transaction = None;
            }
            command::release_watches(self, slot);
        }
        out.error(&text);
        self.stats.error(&text);
    }

    /// An error for a name that is no command; a browser that posts here is cut off.
    fn unknown(&mut self, slot: Slot, args: &Args) -> CommandError {
        if args[0].eq_ignore_ascii_case(b"post") || args[0].eq_ignore_ascii_case(b"host:") {
            tracing::warn!("a client speaks HTTP to the store, perhaps a browser made to attack it; it is cut off");
            if let Some(client) = self.clients.get_mut(slot) {
                client.closing = true;
            }
            return CommandError::Error("".into());
        }
        let shown = |arg: &[u8], limit: usize| String::from_utf8_lossy(&arg[..arg.len().min(limit)]).into_owned();
        let mut tail = String::new();
        for arg in &args[1..] {
            if tail.len() >= 128 {
                break;
            }
            tail.push_str(&format!("'{}' ", shown(arg, 128 - tail.len())));
        }
        CommandError::new(format!("ERR unknown command '{}', with args beginning with: {tail}", shown(args[0], 128)))
    }

    /// Hands out what the last command has published. A client that published to itself gets the
    /// message before the reply, whose place in its buffer `own` tells.
    pub fn deliver(&mut self, mut own: Option<(Slot, usize, &mut Reply)>) {
        self.data.pubsub.outgoing = 0;
        for message in std::mem::take(&mut self.data.pubsub.outbox) {
            let mut frames = Frames::default();
            let (channel, payload) = (&*message.channel, &*message.payload);
            let parts = [message.kind.message(), channel, payload];
            let direct: Vec<Slot> = self.data.pubsub.direct(&message).collect();
            for slot in direct {
                self.deliver_to(slot, &parts, &mut frames, &mut own);
            }
            let matching: Vec<(SmallBytes, Vec<Slot>)> = self
                .data
                .pubsub
                .matching(channel, message.kind)
                .map(|(pattern, slots)| (pattern.clone(), slots.iter().copied().collect()))
                .collect();
            for (pattern, slots) in matching {
                let mut frames = Frames::default();
                let parts = [Kind::Pattern.message(), &pattern, channel, payload];
                for slot in slots {
                    self.deliver_to(slot, &parts, &mut frames, &mut own);
                }
            }
        }
    }

    fn deliver_to(
        &mut self,
        slot: Slot,
        parts: &[&[u8]],
        frames: &mut Frames,
        own: &mut Option<(Slot, usize, &mut Reply)>,
    ) {
        if let Some((own_slot, mark, out)) = own
            && *own_slot == slot
        {
            let frame = frames.get(out.resp3, parts);
            let at = *mark;
            out.buf.splice(at..at, frame.iter().copied());
            *mark += frame.len();
            return;
        }
        let Some(client) = self.clients.get_mut(slot) else {
            return;
        };
        let (limit, frame) = (self.settings.max_pending_output, frames.get(client.reply.resp3, parts));
        if client.pending() > limit.max(KEPT_UNSENT) {
            return self.drop_reader(slot, UNREAD, limit);
        }
        client.reply.buf.extend_from_slice(frame);
        self.schedule(slot);
    }
}

/// A message as it goes over the wire, made once for each protocol.
#[derive(Default)]
struct Frames {
    resp2: Option<Vec<u8>>,
    resp3: Option<Vec<u8>>,
}

impl Frames {
    fn get(&mut self, resp3: bool, parts: &[&[u8]]) -> &[u8] {
        let frame = if resp3 { &mut self.resp3 } else { &mut self.resp2 };
        frame.get_or_insert_with(|| {
            let mut reply = Reply { resp3, ..Reply::default() };
            reply.push(parts.len());
            parts.iter().for_each(|part| reply.bulk(part));
            reply.buf
        })
    }
}

fn enqueue(transaction: &mut Transaction, args: &Args, limit: usize, out: &mut Reply) {
    transaction.bytes += args.iter().map(|arg| arg.len() + size_of::<SmallBytes>()).sum::<usize>();
    if transaction.bytes > limit {
        transaction.failed = true;
        transaction.queue = Vec::new();
        out.error("ERR the transaction is larger than the query buffer may be");
        return;
    }
    if !transaction.failed {
        transaction.queue.push(args.iter().map(|arg| SmallBytes::new(arg)).collect());
    }
    out.simple("QUEUED");
}
