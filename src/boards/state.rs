//! Which boards are wanted, and when each is read next. No I/O: the time is passed in.
//!
//! A board is read when it has changed, at most once per pace tick. It is also read now and then without a reason,
//! which makes up for missed changes. It counts as clean from the moment a read is sent: a change that
//! arrives while the answer is on its way makes it due again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::board::{Board, BoardMember, BoardReading, Place};
use crate::config::channels::BoardRule;
use crate::memory;

/// How many members of one board all clients of this node together may follow.
pub const FOLLOWED: usize = 1000;
/// The time between two reads of a board for which no change is reported.
const HEAL: Duration = Duration::from_secs(10);
/// The pause after the store refused a read, or the board's shard was out of reach.
const REFUSED: Duration = Duration::from_secs(1);
/// The pause before the next attempt while the board's slot is moving.
const MOVING: Duration = Duration::from_millis(100);

/// What to read of one board.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoardQuery {
    pub name: Arc<str>,
    pub rule: BoardRule,
    pub followed: Vec<BoardMember>,
}

/// The outcome of a read.
#[derive(Debug, Clone, PartialEq)]
pub enum ReadOutcome {
    Read(BoardReading),
    /// The store answered, but not with a board. The next attempt waits a little.
    Refused(String),
    /// Unknown, because the connection is gone. A new connection will read everything.
    Lost,
    /// In a cluster: the board's shard is out of reach. The next attempt waits a little.
    Away,
    /// In a cluster: the board's slot is moving. The next attempt waits a little.
    Moving,
}

/// What to tell this node's clients about one board. Later news replaces earlier news.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct BoardNews {
    /// The board if its top or size has changed, or why there is none.
    pub board: Option<Result<Arc<Board>, NoReading>>,
    /// Followed members whose place has changed.
    pub places: BTreeMap<BoardMember, Option<Place>>,
}

/// Why there is no board.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoReading {
    /// The channel's key holds something else.
    NotAnOrderedSet,
    /// In a cluster: the board's shard is out of reach.
    Away,
}

#[derive(Debug)]
struct Wanted {
    rule: BoardRule,
    /// For each followed member, how many sockets follow it and its place at the last read.
    followed: BTreeMap<BoardMember, (usize, Option<Option<Place>>)>,
    /// Whether a read is in progress.
    reading: bool,
    /// Whether it has changed since the last read was sent.
    dirty: bool,
    not_before: Instant,
    heal: Instant,
    /// The time under which it is in the agenda.
    due: Instant,
    last: Option<Result<Arc<Board>, NoReading>>,
}

/// See the module.
#[derive(Debug)]
pub struct BoardsState {
    boards: HashMap<Arc<str>, Wanted>,
    /// All boards that are not being read, ordered by when they are due.
    agenda: BTreeSet<(Instant, Arc<str>)>,
    pace: Duration,
    /// Whether the store reports changes.
    tracking: bool,
}

impl BoardsState {
    pub fn new(pace: Duration) -> Self {
        Self { boards: HashMap::new(), agenda: BTreeSet::new(), pace, tracking: false }
    }

    /// Sets the shortest time between two reads of one board.
    pub fn set_pace(&mut self, pace: Duration) {
        self.pace = pace;
    }

    pub fn is_empty(&self) -> bool {
        self.boards.is_empty()
    }

    /// Wants a board, or changes the rule of a wanted board, and makes it due for a read.
    pub fn want(&mut self, name: Arc<str>, rule: BoardRule, now: Instant) {
        let board = self.boards.entry(name.clone()).or_insert_with(|| Wanted {
            rule,
            followed: BTreeMap::new(),
            reading: false,
            dirty: true,
            not_before: now,
            heal: now + HEAL,
            due: now,
            last: None,
        });
        (board.rule, board.dirty, board.last) = (rule, true, None);
        self.schedule(&name);
    }

    /// Forgets a board that nobody wants any more.
    pub fn release(&mut self, name: &str) {
        if let Some((name, board)) = self.boards.remove_entry(name) {
            self.agenda.remove(&(board.due, name));
            memory::shrink(&mut self.boards);
        }
    }

    /// Adds a socket that follows a member. False if the board follows as many as it may, or is not wanted.
    pub fn follow(&mut self, name: &str, member: &[u8], now: Instant) -> bool {
        let Some(board) = self.boards.get_mut(name) else { return false };
        if !board.followed.contains_key(member) && board.followed.len() >= FOLLOWED {
            return false;
        }
        let (sockets, place) = board.followed.entry(member.to_vec()).or_default();
        *sockets += 1;
        // A new follower must hear the place even if it has not changed.
        *place = None;
        board.dirty = true;
        board.not_before = board.not_before.min(now + self.pace);
        self.schedule(name);
        true
    }

    /// Removes a socket that follows a member.
    pub fn unfollow(&mut self, name: &str, member: &[u8]) {
        let Some(board) = self.boards.get_mut(name) else { return };
        if let Some((sockets, _)) = board.followed.get_mut(member) {
            *sockets -= 1;
            if *sockets == 0 {
                board.followed.remove(member);
            }
        }
    }

    /// Notes that there is a new connection: anything may have changed before it.
    pub fn connected(&mut self, tracking: bool) {
        self.tracking = tracking;
        self.changed_all();
    }

    /// Notes that the store reports a change to this board.
    pub fn changed(&mut self, name: &str) {
        if let Some(board) = self.boards.get_mut(name) {
            board.dirty = true;
            self.schedule(name);
        }
    }

    /// Notes that any board may have changed.
    pub fn changed_all(&mut self) {
        let names: Vec<_> = self.boards.keys().cloned().collect();
        for name in names {
            self.changed(&name);
        }
    }

    /// Returns when the next board is due.
    pub fn next_due(&self) -> Option<Instant> {
        self.agenda.first().map(|(due, _)| *due)
    }

    /// Returns the next board to read, if one is due, and marks it as clean and as being read.
    pub fn begin(&mut self, now: Instant) -> Option<BoardQuery> {
        let (_, name) = self.agenda.first().filter(|(due, _)| *due <= now)?;
        let name = name.clone();
        self.agenda.pop_first();
        let board = self.boards.get_mut(&name)?;
        (board.reading, board.dirty) = (true, false);
        (board.not_before, board.heal) = (now + self.pace, now + HEAL);
        let followed = board.followed.keys().cloned().collect();
        Some(BoardQuery { name, rule: board.rule, followed })
    }

    /// Ends a read. Returns what is new in it.
    pub fn end(&mut self, query: &BoardQuery, outcome: ReadOutcome, now: Instant) -> Option<BoardNews> {
        let board = self.boards.get_mut(&query.name)?;
        board.reading = false;
        let news = match outcome {
            ReadOutcome::Read(reading) if board.rule == query.rule => news(board, &query.followed, reading),
            // The rule has changed since the read was sent.
            ReadOutcome::Read(_) => None,
            ReadOutcome::Refused(_) => {
                (board.dirty, board.not_before) = (true, now + REFUSED);
                None
            }
            ReadOutcome::Lost => {
                board.dirty = true;
                None
            }
            ReadOutcome::Moving => {
                (board.dirty, board.not_before) = (true, now + MOVING);
                None
            }
            ReadOutcome::Away => {
                (board.dirty, board.not_before) = (true, now + REFUSED);
                let away = Some(Err(NoReading::Away));
                let news = board.last != away;
                board.last = away.clone();
                news.then(|| BoardNews { board: away, ..BoardNews::default() })
            }
        };
        self.schedule(&query.name);
        news
    }

    fn schedule(&mut self, name: &str) {
        let Some((name, board)) = self.boards.get_key_value(name) else { return };
        let name = name.clone();
        if board.reading {
            return;
        }
        let due = if board.dirty || !self.tracking { board.not_before } else { board.heal };
        self.agenda.remove(&(board.due, name.clone()));
        if let Some(board) = self.boards.get_mut(&name) {
            board.due = due;
        }
        self.agenda.insert((due, name));
    }
}

fn news(board: &mut Wanted, asked: &[BoardMember], reading: BoardReading) -> Option<BoardNews> {
    let mut news = BoardNews::default();
    let (current, places) = match reading {
        BoardReading::Board(read, places) => (Ok(Arc::new(read)), places),
        BoardReading::NotAnOrderedSet => (Err(NoReading::NotAnOrderedSet), vec![None; asked.len()]),
    };
    if board.last.as_ref() != Some(&current) {
        board.last = Some(current.clone());
        news.board = Some(current);
    }
    for (member, place) in asked.iter().zip(places) {
        let Some((_, last)) = board.followed.get_mut(member) else { continue };
        if *last != Some(place) {
            *last = Some(place);
            news.places.insert(member.clone(), place);
        }
    }
    (news != BoardNews::default()).then_some(news)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::channels::SortOrder;

    const PACE: Duration = Duration::from_millis(100);

    fn board(size: u64) -> ReadOutcome {
        ReadOutcome::Read(BoardReading::Board(Board { top: Vec::new(), size }, Vec::new()))
    }

    fn wanted(tracking: bool) -> (BoardsState, Instant) {
        let (mut state, now) = (BoardsState::new(PACE), Instant::now());
        state.connected(tracking);
        state.want("b".into(), BoardRule { top: 10, order: SortOrder::Descending }, now);
        (state, now)
    }

    #[test]
    fn a_board_is_read_at_once_and_then_only_when_it_changed() {
        let (mut state, now) = wanted(true);
        let query = state.begin(now).unwrap();
        assert_eq!(state.begin(now), None);
        assert!(state.end(&query, board(1), now).unwrap().board.is_some());
        assert_eq!(state.next_due(), Some(now + HEAL));
        state.changed("b");
        assert_eq!(state.begin(now), None, "not before the next pace tick");
        let query = state.begin(now + PACE).unwrap();
        assert_eq!(state.end(&query, board(1), now + PACE), None, "nothing is new");
    }

    #[test]
    fn a_board_whose_part_of_the_store_is_away_is_told_so_once_and_tried_again() {
        let (mut state, start) = wanted(true);
        let mut read = |second: u64, outcome| {
            let now = start + Duration::from_secs(second);
            let query = state.begin(now).unwrap();
            state.end(&query, outcome, now).and_then(|news| news.board)
        };
        assert!(matches!(read(0, ReadOutcome::Away), Some(Err(NoReading::Away))));
        assert_eq!(read(1, ReadOutcome::Away), None, "that is told already");
        assert!(matches!(read(2, board(1)), Some(Ok(_))));
    }

    #[test]
    fn a_change_while_the_answer_is_on_its_way_is_not_lost() {
        let (mut state, now) = wanted(true);
        let query = state.begin(now).unwrap();
        state.changed("b");
        state.end(&query, board(1), now);
        assert_eq!(state.next_due(), Some(now + PACE));
    }

    #[test]
    fn without_tracking_a_board_is_read_at_each_tick() {
        let (mut state, now) = wanted(false);
        let query = state.begin(now).unwrap();
        state.end(&query, board(1), now);
        assert_eq!(state.next_due(), Some(now + PACE));
    }

    #[test]
    fn a_new_connection_reads_everything() {
        let (mut state, now) = wanted(true);
        let query = state.begin(now).unwrap();
        state.end(&query, board(1), now);
        state.connected(true);
        assert_eq!(state.next_due(), Some(now + PACE));
    }

    #[test]
    fn a_follower_hears_a_place_once_and_again_when_it_moves() {
        let (mut state, now) = wanted(true);
        let read = |rank| {
            let place = Some(Place { rank, score: 1.0 });
            ReadOutcome::Read(BoardReading::Board(Board::default(), vec![place]))
        };
        assert!(state.follow("b", b"ann", now));
        for (turn, (rank, told)) in [(3, true), (3, false), (2, true)].into_iter().enumerate() {
            let now = now + PACE * turn as u32;
            state.changed("b");
            let query = state.begin(now).unwrap();
            assert_eq!(query.followed, [b"ann".to_vec()]);
            let news = state.end(&query, read(rank), now);
            assert_eq!(news.is_some_and(|news| !news.places.is_empty()), told);
        }
        state.unfollow("b", b"ann");
        state.changed("b");
        assert_eq!(state.begin(now + PACE * 9).unwrap().followed.len(), 0);
    }

    #[test]
    fn only_so_many_members_are_followed() {
        let (mut state, now) = wanted(true);
        for number in 0..FOLLOWED {
            assert!(state.follow("b", number.to_string().as_bytes(), now));
        }
        assert!(!state.follow("b", b"one more", now));
        assert!(state.follow("b", b"7", now), "one who is followed already costs nothing");
    }

    #[test]
    fn a_board_that_nobody_wants_is_in_no_list() {
        let (mut state, now) = wanted(true);
        let query = state.begin(now).unwrap();
        state.release("b");
        assert_eq!(state.end(&query, board(1), now), None);
        assert!(state.is_empty() && state.next_due().is_none());
    }
}
