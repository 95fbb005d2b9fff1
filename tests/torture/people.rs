//! Who is here, as the model has it: sockets belong to people, some known by their token's name, some only by an
//! id of their own. Every list that a socket holds must be that of all who are on the room, and nobody may be told
//! to have left more often than they may have.

use std::collections::{BTreeMap, BTreeSet};

use super::world::{ROOM, World, expect, side};
use crate::support::kinds::{identity, name};
use crate::support::same;

/// One person of so many has no token.
const UNNAMED: u32 = 3;

/// What an address says of who somebody is.
pub fn address_part(who: u32) -> String {
    if is_named(who) { identity(who) } else { format!("visitor=person-{who:016}") }
}

fn is_named(who: u32) -> bool {
    !who.is_multiple_of(UNNAMED)
}

/// Who has ever come, and how often each may have gone.
#[derive(Default)]
pub struct People {
    last: u32,
    on_room: BTreeSet<u32>,
    gone: BTreeMap<String, usize>,
    /// Who has been at which place since [`World::watch`].
    been: BTreeSet<(usize, u32)>,
    /// The place whose node may have been withdrawn, if there is one, and who is on the room at the others.
    apart: Option<(usize, BTreeSet<u32>)>,
}

impl World {
    /// Who comes next: somebody new, or another tab of somebody who is here.
    pub fn next_person(&mut self) -> u32 {
        let here: Vec<u32> = self.sockets().map(|(_, visitor)| visitor.who).collect();
        if !here.is_empty() && self.rng.bool() {
            return here[self.rng.usize(..here.len())];
        }
        self.people.last += 1;
        self.people.last
    }

    /// Everybody who has joined a channel.
    pub fn people_on(&self, channel: &str) -> BTreeSet<u32> {
        self.sockets().filter(|(_, visitor)| visitor.joined.contains(channel)).map(|(_, visitor)| visitor.who).collect()
    }

    /// Notes who has gone since the last time.
    pub fn recount(&mut self) {
        let now = self.people_on(ROOM);
        for who in self.people.on_room.difference(&now) {
            *self.people.gone.entry(name(*who)).or_default() += 1;
        }
        if let Some((place, before)) = self.people.apart.take() {
            let others = self.people_on_room_beyond(place);
            // The node that has them still cannot say so, and to all others they have gone.
            for who in before.difference(&others).filter(|who| now.contains(who)) {
                *self.people.gone.entry(name(*who)).or_default() += 1;
            }
            self.people.apart = Some((place, others));
        }
        self.people.on_room = now;
        let here: Vec<_> = self.sockets().map(|(at, visitor)| (at, visitor.who)).collect();
        self.people.been.extend(here);
    }

    /// Begins to note who is at each place.
    pub fn watch(&mut self) {
        self.people.been.clear();
        self.people.apart = None;
        self.recount();
    }

    /// From now on the other nodes may withdraw that of this place.
    pub fn set_apart(&mut self, place: usize) {
        self.people.apart = Some((place, self.people_on_room_beyond(place)));
    }

    fn people_on_room_beyond(&self, place: usize) -> BTreeSet<u32> {
        self.whereabouts().into_iter().filter(|(at, _)| *at != place).map(|(_, who)| who).collect()
    }

    /// Who has had a socket at a place since [`World::watch`].
    pub fn been_at(&self, place: usize) -> BTreeSet<u32> {
        self.people.been.iter().filter(|(at, _)| *at == place).map(|(_, who)| *who).collect()
    }

    /// A node is away for longer than its lease, perhaps: so are these people, until it is back.
    pub fn excuse(&mut self, people: BTreeSet<u32>) {
        for who in people {
            *self.people.gone.entry(name(who)).or_default() += 1;
        }
    }

    /// Who has joined the room, and at which place.
    pub fn whereabouts(&self) -> BTreeSet<(usize, u32)> {
        let joined = self.sockets().filter(|(_, visitor)| visitor.joined.contains(ROOM));
        joined.map(|(at, visitor)| (at, visitor.who)).collect()
    }

    /// Whoever is at none of the places any more at which they were before a fault may have been withdrawn there
    /// before they could be stated elsewhere.
    pub fn excuse_moved(&mut self, before: &BTreeSet<(usize, u32)>) {
        let now = self.whereabouts();
        let stayed: BTreeSet<u32> = now.intersection(before).map(|(_, who)| *who).collect();
        let moved: BTreeSet<u32> = now.iter().map(|(_, who)| *who).filter(|who| !stayed.contains(who)).collect();
        self.excuse(moved);
    }

    /// `Ok` where each socket that is told of the room holds the list of all who are on it.
    pub async fn lists_agree(&self) -> Result<(), String> {
        let people = self.people_on(ROOM);
        let names: BTreeSet<String> = people.iter().copied().filter(|who| is_named(*who)).map(name).collect();
        let mut handles = None;
        for (place, visitor) in self.sockets().filter(|(place, _)| self.places[*place].awake) {
            if !visitor.joined.contains(ROOM) && !visitor.watching.contains(ROOM) {
                continue;
            }
            let listed = visitor.listed().map_err(|why| format!("node {place}: {why}"))?;
            let all: BTreeSet<String> = listed.members.unwrap_or_default().into_keys().collect();
            let (drawn, named): (BTreeSet<_>, BTreeSet<_>) = all.into_iter().partition(|who| who.starts_with('~'));
            same(&format!("node {place}: the names on a list"), named, names.clone())?;
            same(&format!("node {place}: those without a name"), drawn.len(), people.len() - names.len())?;
            same(&format!("node {place}: their handles"), &drawn, handles.get_or_insert_with(|| drawn.clone()))?;
        }
        let listed: usize = self.store.run(&["HLEN", &side(ROOM, "members")]).await?;
        same("the members in the store", listed, people.len() + usize::from(!people.is_empty()))
    }

    /// `Ok` where nobody was told to have left more often than they may have.
    pub fn nobody_left_falsely(&self) -> Result<(), String> {
        for (place, visitor) in self.sockets() {
            for (who, times) in
                visitor.listed().unwrap_or_default().left.iter().filter(|(who, _)| !who.starts_with('~'))
            {
                let most = self.people.gone.get(who).copied().unwrap_or_default();
                expect(*times <= most, || {
                    format!("node {place}: {who} was told to have left {times} times, and has at most {most} times")
                })?;
            }
        }
        Ok(())
    }
}
