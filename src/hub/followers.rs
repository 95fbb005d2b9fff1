//! Who on a worker follows which member of a board. A channel that is no board has none of this.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use indexmap::IndexSet;

use super::SocketId;

/// The followers of one board on one worker. A socket follows at most one of its members.
#[derive(Debug, Default)]
pub struct Followers {
    members: HashMap<Arc<str>, Followed>,
    by_socket: HashMap<SocketId, Arc<str>>,
}

#[derive(Debug, Default)]
struct Followed {
    sockets: IndexSet<SocketId>,
    /// What was last told of it.
    frame: Option<Bytes>,
}

impl Followers {
    /// A socket follows a member from now on. Returns whom it followed before.
    pub fn follow(&mut self, id: SocketId, member: Arc<str>) -> Option<Arc<str>> {
        let before = self.unfollow(id);
        self.members.entry(member.clone()).or_default().sockets.insert(id);
        self.by_socket.insert(id, member);
        before
    }

    /// A socket follows nobody any more. Returns whom it did.
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

    /// A member's place is news. Returns the sockets that are to hear it.
    pub fn moved(&mut self, member: &str, frame: Bytes) -> Vec<SocketId> {
        let Some(followed) = self.members.get_mut(member) else { return Vec::new() };
        followed.frame = Some(frame);
        followed.sockets.iter().copied().collect()
    }

    /// The newest place of the member that a socket follows, for one that was behind.
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
