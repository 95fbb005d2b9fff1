//! The list of who is on a channel, through losses of data and what is told meanwhile.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::member::Listing;
use super::roster::{Roll, Roster};
use super::roster_news::Head;
use super::visitor_id::VisitorId;
use crate::config::channels::MembersRule;

const HOLD: Duration = Duration::from_secs(3);

/// The list at a turn, with these members.
fn roll(turn: u64, who: &[u8]) -> Roll {
    let head = Head { epoch: "ab".into(), turn, mark: "cd".into() };
    Roll::All(head, "ef".into(), who.iter().map(|number| (VisitorId([*number; 16]), b"17 0".to_vec())).collect())
}

fn shown(roster: &mut Roster) -> Option<usize> {
    match roster.take_news()? {
        Listing::Shown(list) => Some(list.json().matches("\"id\"").count()),
        listing => panic!("{listing:?}"),
    }
}

#[test]
fn after_an_interruption_nobody_has_left_before_all_had_time_to_say_that_they_are_here() {
    let now = Instant::now();
    let mut roster = Roster::new(MembersRule { most: 10, bytes: 4096 }, now);
    roster.read(roll(5, &[1, 2, 3]), now, HOLD);
    assert_eq!(shown(&mut roster), Some(3));
    roster.read(roll(6, &[1, 2]), now, HOLD);
    assert_eq!(shown(&mut roster), Some(2), "one has left");
    // A replica without the last changes took over, and has since reached the turn that this node had reached.
    roster.unsubscribed();
    roster.read(roll(6, &[1]), now, HOLD);
    roster.tick(now);
    assert_eq!(shown(&mut roster), Some(2));
    roster.read(roll(7, &[1]), now, HOLD);
    roster.tick(now + HOLD);
    assert_eq!(shown(&mut roster), Some(1), "it did not come back");
    roster.read(roll(8, &[]), now + HOLD, HOLD);
    assert_eq!(shown(&mut roster), Some(0), "and from then on, whoever has left is told at once");
}

/// The message for a change of a list, from one mark to the next.
fn news(epoch: &str, turn: u64, marks: [&str; 2], body: &[u8]) -> Bytes {
    [format!("{epoch} {turn} {} {} ef\n", marks[0], marks[1]).as_bytes(), body].concat().into()
}

#[test]
fn whoever_goes_on_one_node_after_data_were_lost_may_be_on_another_that_is_about_to_say_so() {
    let now = Instant::now();
    let mut roster = Roster::new(MembersRule { most: 10, bytes: 4096 }, now);
    roster.read(roll(5, &[1, 2]), now, HOLD);
    assert_eq!(shown(&mut roster), Some(2));
    let (ann, bob) = ([b"+".as_slice(), &[1; 16], b"4:17 0"].concat(), [b"+".as_slice(), &[2; 16], b"4:17 0"].concat());
    // A new list begins with both, but Ann immediately leaves the node that stated her.
    roster.heard(news("cd", 1, ["0", "11"], &[ann.clone(), bob].concat()), now, HOLD);
    roster.heard(news("cd", 2, ["11", "22"], &[b"-".as_slice(), &[1; 16]].concat()), now, HOLD);
    roster.tick(now);
    assert_eq!(shown(&mut roster), Some(2));
    roster.heard(news("cd", 3, ["22", "33"], &ann), now, HOLD);
    roster.tick(now + HOLD);
    assert_eq!(shown(&mut roster), Some(2), "she is on another node");
    roster.heard(news("cd", 4, ["33", "44"], &[b"-".as_slice(), &[1; 16]].concat()), now + HOLD, HOLD);
    assert_eq!(shown(&mut roster), Some(1), "and from then on, whoever has left is told at once");
}

#[test]
fn a_list_that_ends_with_its_last_member_makes_nobody_wait_longer() {
    let now = Instant::now();
    let mut roster = Roster::new(MembersRule { most: 10, bytes: 4096 }, now);
    roster.read(roll(1, &[1]), now, HOLD);
    roster.unsubscribed();
    roster.read(roll(1, &[1]), now, HOLD);
    roster.heard(news("ab", 2, ["cd", "11"], &[b"-".as_slice(), &[1; 16]].concat()), now, HOLD);
    assert_eq!(shown(&mut roster), Some(1), "they may be on a node that has not said so yet");
    roster.read(Roll::None, now + HOLD / 2, HOLD);
    roster.tick(now + HOLD / 2);
    assert_eq!(shown(&mut roster), Some(1));
    roster.tick(now + HOLD);
    assert_eq!(shown(&mut roster), Some(0));
}

#[test]
fn a_list_that_begins_on_an_empty_channel_waits_for_nobody() {
    let now = Instant::now();
    let mut roster = Roster::new(MembersRule { most: 10, bytes: 4096 }, now);
    roster.read(Roll::None, now, HOLD);
    assert_eq!(shown(&mut roster), Some(0));
    roster.heard(news("cd", 1, ["0", "11"], &[b"+".as_slice(), &[1; 16], b"4:17 0"].concat()), now, HOLD);
    assert_eq!(shown(&mut roster), Some(1));
    roster.heard(news("cd", 2, ["11", "22"], &[b"-".as_slice(), &[1; 16]].concat()), now, HOLD);
    assert_eq!(shown(&mut roster), Some(0));
}
