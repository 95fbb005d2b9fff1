//! `CLIENT TRACKING`, `CACHING`, `TRACKINGINFO` and `GETREDIR`: clients that cache what they read.

use std::collections::BTreeSet;
use std::ops::Bound;

use crate::store::args::{Cursor, is};
use crate::store::error::{CommandError, NOT_AN_INTEGER, Outcome, SYNTAX};
use crate::store::number::parse_int;
use crate::store::pubsub::ClientSlot;
use crate::store::reply::Reply;
use crate::store::resp::Args;
use crate::store::server::StoreServer;
use crate::store::server::client::{Client, name_cost};
use crate::store::server::tracking::stop;
use crate::store::server::tracks::{Mode, Tracks};
use crate::store::small_bytes::SmallBytes;

/// How many prefixes one client may track.
const MOST_PREFIXES: usize = 4096;

#[derive(Default)]
struct Options<'a> {
    redirect: Option<(u64, ClientSlot)>,
    broadcast: bool,
    opt_in: bool,
    opt_out: bool,
    no_loop: bool,
    prefixes: Vec<&'a [u8]>,
}

impl<'a> Options<'a> {
    fn parse(server: &StoreServer, args: &Args<'a>) -> Result<Self, CommandError> {
        let mut options = Self::default();
        let mut cursor = Cursor::new(args, 3);
        while let Some(word) = cursor.next() {
            let more = cursor.left() > 0;
            match () {
                () if is(word, "REDIRECT") && more => {
                    if options.redirect.is_some() {
                        return Err(CommandError::new("ERR A client can only redirect to a single other client"));
                    }
                    options.redirect = redirect(server, cursor.value()?)?;
                }
                () if is(word, "BCAST") => options.broadcast = true,
                () if is(word, "OPTIN") => options.opt_in = true,
                () if is(word, "OPTOUT") => options.opt_out = true,
                () if is(word, "NOLOOP") => options.no_loop = true,
                () if is(word, "PREFIX") && more => options.prefixes.push(cursor.value()?),
                () => return Err(SYNTAX),
            }
        }
        Ok(options)
    }

    fn check(&self, old: Option<&Tracks>) -> Outcome {
        let fail = |text: &str| Err(CommandError::new(format!("ERR {text}")));
        if !self.broadcast && !self.prefixes.is_empty() {
            return fail("PREFIX option requires BCAST mode to be enabled");
        }
        if old.is_some_and(|old| (old.mode == Mode::Broadcast) != self.broadcast) {
            return fail(
                "You can't switch BCAST mode on/off before disabling tracking for this client, and then re-enabling \
                 it with a different mode.",
            );
        }
        if self.broadcast && (self.opt_in || self.opt_out) {
            return fail("OPTIN and OPTOUT are not compatible with BCAST");
        }
        if self.opt_in && self.opt_out {
            return fail("You can't specify both OPTIN mode and OPTOUT mode");
        }
        let switched =
            |old: &Tracks| self.opt_in && old.mode == Mode::OptOut || self.opt_out && old.mode == Mode::OptIn;
        if old.is_some_and(switched) {
            return fail(
                "You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then re-enabling \
                 it with a different mode.",
            );
        }
        self.check_prefixes(old)
    }

    /// Refuses prefixes that overlap: a key must not match two prefixes of one client.
    fn check_prefixes(&self, old: Option<&Tracks>) -> Outcome {
        let overlap = |one: &[u8], kind: &str, other: &[u8]| {
            let (one, other) = (String::from_utf8_lossy(one), String::from_utf8_lossy(other));
            Err(CommandError::new(format!(
                "ERR Prefix '{one}' overlaps with {kind} prefix '{other}'. Prefixes for a single client must not \
                 overlap."
            )))
        };
        let existing = || old.into_iter().flat_map(|old| &old.prefixes);
        if self.prefixes.len() + existing().count() > MOST_PREFIXES {
            return Err(CommandError::new("ERR a client may not ask for so many prefixes"));
        }
        let mut given: BTreeSet<SmallBytes> = BTreeSet::new();
        let existing: BTreeSet<SmallBytes> = existing().cloned().collect();
        for prefix in &self.prefixes {
            if let Some(other) = overlapping(&existing, prefix) {
                return overlap(prefix, "an existing", other);
            }
            if let Some(other) = overlapping(&given, prefix) {
                return overlap(other, "another provided", prefix);
            }
            given.insert(SmallBytes::new(prefix));
        }
        Ok(())
    }

    fn mode(&self) -> Mode {
        match () {
            () if self.broadcast => Mode::Broadcast,
            () if self.opt_in => Mode::OptIn,
            () if self.opt_out => Mode::OptOut,
            () => Mode::Every,
        }
    }
}

/// Finds a name that begins with `prefix`, or that `prefix` begins with. No name begins with another, except that
/// the empty name is also there if the client once tracked all keys.
fn overlapping<'a>(names: &'a BTreeSet<SmallBytes>, prefix: &[u8]) -> Option<&'a SmallBytes> {
    let everything = names.first().filter(|name| name.is_empty());
    if everything.is_some() {
        return everything;
    }
    let above = names.range::<[u8], _>((Bound::Included(prefix), Bound::Unbounded)).next();
    let below = names.range::<[u8], _>((Bound::Unbounded, Bound::Excluded(prefix))).next_back();
    above.filter(|name| name.starts_with(prefix)).or(below.filter(|name| prefix.starts_with(name)))
}

/// Finds the client to which another one redirects its invalidations.
fn redirect(server: &StoreServer, id: &[u8]) -> Result<Option<(u64, ClientSlot)>, CommandError> {
    let id = parse_int(id).ok_or(NOT_AN_INTEGER)?;
    let found = u64::try_from(id).ok().and_then(|id| Some((id, *server.slots.get(&id)?)));
    found.map(Some).ok_or(CommandError::new("ERR The client ID you want redirect to does not exist"))
}

/// `CLIENT TRACKING`
pub fn tracking(server: &mut StoreServer, slot: ClientSlot, args: &Args, out: &mut Reply) -> Outcome {
    let options = Options::parse(server, args)?;
    if is(args[2], "OFF") {
        stop(server, slot);
    } else if is(args[2], "ON") {
        let Some(client) = server.clients.get(slot) else { return Ok(()) };
        options.check(client.tracks.as_deref())?;
        start(server, slot, &options);
    } else {
        return Err(SYNTAX);
    }
    out.ok();
    Ok(())
}

fn start(server: &mut StoreServer, slot: ClientSlot, options: &Options) {
    let Some(client) = server.clients.get_mut(slot) else { return };
    let old = client.tracks.take();
    if old.is_none() {
        server.trackers.insert(client.id, slot);
        server.data.keys.tracking.count(true);
    }
    let (caching, mut prefixes) = old.map_or_else(Default::default, |old| (old.caching, old.prefixes));
    let everything: &[&[u8]] = &[b""];
    let asked = if options.prefixes.is_empty() { everything } else { &options.prefixes };
    for prefix in asked.iter().filter(|_| options.broadcast) {
        if prefixes.insert(SmallBytes::new(prefix)) {
            client.names_bytes += name_cost(prefix);
            server.data.keys.tracking.subscribe(prefix, client.id);
        }
    }
    let (mode, no_loop, redirect) = (options.mode(), options.no_loop, options.redirect);
    client.tracks = Some(Box::new(Tracks { mode, caching, no_loop, redirect, broken: false, prefixes }));
}

/// `CLIENT CACHING`
pub fn caching(client: &mut Client, answer: &[u8], out: &mut Reply) -> Outcome {
    let Some(tracks) = &mut client.tracks else {
        return Err(CommandError::new(
            "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode \
             enabled",
        ));
    };
    let (word, mode, name) = match () {
        () if is(answer, "YES") => ("YES", Mode::OptIn, "OPTIN"),
        () if is(answer, "NO") => ("NO", Mode::OptOut, "OPTOUT"),
        () => return Err(SYNTAX),
    };
    if tracks.mode != mode {
        return Err(CommandError::new(format!(
            "ERR CLIENT CACHING {word} is only valid when tracking is enabled in {name} mode."
        )));
    }
    tracks.caching = true;
    out.ok();
    Ok(())
}

/// The ID of the client that is notified in this one's place: 0 if there is none, -1 if this client does not
/// track.
pub fn redirection(client: &Client) -> i64 {
    client.tracks.as_ref().map_or(-1, |tracks| tracks.redirect.map_or(0, |(id, _)| id as i64))
}

/// `CLIENT TRACKINGINFO`
pub fn tracking_info(client: &Client, out: &mut Reply) {
    let tracks = client.tracks.as_deref();
    let mut flags = vec![if tracks.is_some() { "on" } else { "off" }];
    let mode = tracks.map(|tracks| (tracks.mode, tracks.caching));
    flags.extend(match mode {
        None | Some((Mode::Every, _)) => &[][..],
        Some((Mode::Broadcast, _)) => &["bcast"],
        Some((Mode::OptIn, false)) => &["optin"],
        Some((Mode::OptIn, true)) => &["optin", "caching-yes"],
        Some((Mode::OptOut, false)) => &["optout"],
        Some((Mode::OptOut, true)) => &["optout", "caching-no"],
    });
    flags.extend(tracks.filter(|tracks| tracks.no_loop).map(|_| "noloop"));
    flags.extend(tracks.filter(|tracks| tracks.broken).map(|_| "broken_redirect"));
    out.map(3);
    out.bulk(b"flags");
    out.set(flags.len());
    flags.iter().for_each(|flag| out.bulk(flag.as_bytes()));
    out.bulk(b"redirect");
    out.int(redirection(client));
    out.bulk(b"prefixes");
    let prefixes: Vec<&[u8]> = tracks.into_iter().flat_map(|tracks| &tracks.prefixes).map(|name| &**name).collect();
    out.bulks(prefixes.into_iter());
}
