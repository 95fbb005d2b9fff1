//! Which sockets of a worker follow which members of a board. Other channels have no followers.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use indexmap::IndexSet;

use super::SocketId;

/// The followers of one board on one worker. A socket follows at most one member.
#[derive(Debug, Default)]
pub struct Followers {
    members: HashMap<Arc<str>, Followed>,
    by_socket: HashMap<SocketId, Arc<str>>,
}

#[derive(Debug, Default)]
struct Followed {
    sockets: IndexSet<SocketId>,
    /// The last frame about this member.
    frame: Option<Bytes>,
}

impl Followers {
    /// Makes a socket follow a member. Returns the one that it followed before.
    pub fn follow(&mut self, id: SocketId, member: Arc<str>) -> Option<Arc<str>> {
        let before = self.unfollow(id);
        self.members.entry(member.clone()).or_default().sockets.insert(id);
        self.by_socket.insert(id, member);
        before
    }

    /// Makes a socket follow nobody. Returns the member that it followed.
    pub fn unfollow(&mut self, id: SocketId) -> Option<Arc<str>> {
        let member = self.by_socket.remove(&id)?;
        if let Some(followed) = self.members.get_mut(&member) {
            followed.sockets.swap_remove(&id);
            if followed.sockets.is_empty() {
                self.members.remove(&member);
            }
        }
        Some(member)
    }

    /// Records a member's new place. Returns the sockets to send it to.
    pub fn moved(&mut self, member: &str, frame: Bytes) -> Vec<SocketId> {
        let Some(followed) = self.members.get_mut(member) else { return Vec::new() };
        followed.frame = Some(frame);
        followed.sockets.iter().copied().collect()
    }

    /// Returns the newest place of the member that a socket follows, for a socket that was behind.
    pub fn newest(&self, id: SocketId) -> Option<Bytes> {
        self.members.get(self.by_socket.get(&id)?)?.frame.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_follows_one_member_and_nothing_is_left_of_those_whom_nobody_follows() {
        let mut followers = Followers::default();
        followers.follow(1, "ann".into());
        followers.follow(2, "ann".into());
        followers.follow(2, "bob".into());
        assert_eq!(followers.moved("ann", Bytes::from_static(b"a")), [1]);
        assert_eq!(followers.moved("bob", Bytes::from_static(b"b")), [2]);
        assert_eq!(followers.newest(2), Some(Bytes::from_static(b"b")));
        assert_eq!(followers.unfollow(2).as_deref(), Some("bob"));
        assert_eq!(followers.unfollow(1).as_deref(), Some("ann"));
        assert!(followers.moved("ann", Bytes::new()).is_empty());
        assert!(followers.members.is_empty() && followers.by_socket.is_empty());
    }
}
