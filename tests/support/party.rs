//! Three crowds on one node, one for each kind of count.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::crowd::{Crowd, People};
use super::kinds::{KINDS, Kind, name};
use super::listed::Listed;
use super::node::Node;
use super::same;

/// Of a crowd that comes and goes, so many of these as there are sockets where those are counted.
const SHARES: [usize; 3] = [1, 5, 16];

/// Everybody who comes to any of the nodes.
#[derive(Default)]
pub struct Guests([Arc<People>; 3]);

/// See the module.
pub struct Party {
    crowds: [Crowd; 3],
}

impl Party {
    /// This many sockets come to the channel that counts them, and fewer to the others, each of somebody.
    pub async fn gather(node: &Node, guests: &Guests, size: usize) -> Party {
        let gather = |kind: Kind| {
            let (people, size) = (guests.0[kind as usize].clone(), size / SHARES[kind as usize]);
            let people = (kind != Kind::Sockets).then_some(people);
            Crowd::gather_people(node.address, kind.channel(), people, size)
        };
        let [sockets, visitors, members] = KINDS.map(gather);
        let (sockets, visitors, members) = tokio::join!(sockets, visitors, members);
        Party { crowds: [sockets, visitors, members] }
    }

    /// They come and go, up to twice this many of each a second where sockets are counted.
    pub async fn churn(&mut self, duration: Duration, rate: usize) {
        let [sockets, visitors, members] = &mut self.crowds;
        tokio::join!(
            sockets.churn(duration, rate / SHARES[0]),
            visitors.churn(duration, rate / SHARES[1]),
            members.churn(duration, rate / SHARES[2]),
        );
    }

    fn of(&self, kind: Kind) -> &Crowd {
        &self.crowds[kind as usize]
    }
}

/// What must be true of all who are on living nodes.
pub struct Truth {
    pub numbers: [(&'static str, i64); 3],
    names: BTreeSet<String>,
}

impl Truth {
    pub fn of(parties: &[&Party]) -> Truth {
        let everybody = |kind| -> BTreeSet<u32> { parties.iter().flat_map(|party| party.of(kind).people()).collect() };
        let sockets = parties.iter().map(|party| party.of(Kind::Sockets).size()).sum();
        let members = everybody(Kind::Members);
        let numbers = [sockets, everybody(Kind::Visitors).len() as i64, members.len() as i64];
        let numbers = KINDS.map(|kind| (kind.channel(), numbers[kind as usize]));
        Truth { numbers, names: members.into_iter().map(name).collect() }
    }

    /// `Ok` where every socket was last told the right number.
    pub fn is_told(&self, parties: &[&Party]) -> Result<(), String> {
        for (party, kind) in parties.iter().flat_map(|party| KINDS.map(|kind| (party, kind))) {
            let (channel, number) = self.numbers[kind as usize];
            party.of(kind).sees(number).map_err(|why| format!("{channel}: {why}"))?;
        }
        Ok(())
    }

    /// `Ok` where every list is right. Of those who are here, only `excused` may have been told to have left.
    pub fn is_listed(&self, parties: &[&Party], excused: &BTreeSet<String>) -> Result<(), String> {
        let check = |listed: &Listed| {
            for who in listed.left.keys().filter(|who| self.names.contains(*who)) {
                assert!(excused.contains(who), "{who} was told to have left, and has not");
            }
            let members: BTreeSet<&String> = listed.members.iter().flat_map(|members| members.keys()).collect();
            let strange: Vec<_> = members.symmetric_difference(&self.names.iter().collect()).copied().take(5).collect();
            same("what differs in a list", strange, Vec::new())
        };
        parties.iter().try_for_each(|party| party.of(Kind::Members).lists(check))
    }

    /// Those who are on the list.
    pub fn names(&self) -> &BTreeSet<String> {
        &self.names
    }
}
