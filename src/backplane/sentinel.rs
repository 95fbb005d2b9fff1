//! Which server the sentinels name as the primary. No I/O: the answers are passed in.
//!
//! All sentinels are asked at once. The server that most of them name is tried first, and each candidate is
//! asked for its role before it is used, so one sentinel that is wrong or cut off misleads nobody. A node
//! leaves its primary only when a majority of all sentinels names another, so a partition with only a few
//! sentinels does not make it switch back and forth.

use crate::config::HostPort;

/// The servers that the sentinels named, each with its number of votes, most votes first.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Votes {
    pub servers: Vec<(HostPort, usize)>,
    pub asked: usize,
    /// The reason given by the last sentinel that named no server.
    pub why: String,
}

impl Votes {
    pub fn count(answers: Vec<Result<HostPort, String>>) -> Self {
        let mut votes = Self { asked: answers.len(), ..Self::default() };
        for answer in answers {
            match answer {
                Ok(server) => match votes.servers.iter_mut().find(|(known, _)| *known == server) {
                    Some((_, number)) => *number += 1,
                    None => votes.servers.push((server, 1)),
                },
                Err(why) => votes.why = why,
            }
        }
        votes.servers.sort_by_key(|(_, number)| std::cmp::Reverse(*number));
        votes
    }

    /// Returns the server that a majority of all sentinels names, counting also those that did not answer.
    pub fn elected(&self) -> Option<&HostPort> {
        let (server, number) = self.servers.first()?;
        (number * 2 > self.asked).then_some(server)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn votes(answers: &[Option<u16>]) -> Votes {
        let answer = |port: &Option<u16>| port.map(|port| ("h".to_owned(), port)).ok_or_else(|| "silent".to_owned());
        Votes::count(answers.iter().map(answer).collect())
    }

    #[test]
    fn a_sentinel_that_is_wrong_or_alone_elects_nobody() {
        let elected = |answers: &[Option<u16>]| votes(answers).elected().map(|(_, port)| *port);
        assert_eq!(elected(&[Some(1), Some(2), Some(2)]), Some(2));
        assert_eq!(elected(&[Some(2), None, None]), None, "it is alone");
        assert_eq!(elected(&[Some(1), Some(2)]), None, "they do not agree");
        assert_eq!(elected(&[Some(1)]), Some(1), "it is the only one there is");
        assert_eq!(elected(&[]), None);
    }

    #[test]
    fn what_most_name_is_tried_first_and_the_others_after_it() {
        let ports: Vec<u16> = votes(&[Some(1), Some(2), None, Some(2)]).servers.iter().map(|((_, p), _)| *p).collect();
        assert_eq!(ports, [2, 1]);
        assert_eq!(votes(&[None]).why, "silent");
    }
}
