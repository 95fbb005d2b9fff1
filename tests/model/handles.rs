//! The handles' one part without a lock, in every order of its steps that the memory model allows.

use loom::sync::{Arc, Mutex, atomic};
use loom::thread;

#[path = "../../src/presence/mark.rs"]
mod mark;

use mark::{Mark, Seen};

const TALLY: u8 = 2;
const HEARD: u8 = 8;

/// A handle and the mailbox that it is posted to.
struct Handle {
    mark: Mark,
    mailbox: Mutex<u8>,
}

impl Handle {
    fn post(&self, bit: u8) {
        if self.mark.set(bit) {
            *self.mailbox.lock().unwrap() += 1;
        }
    }

    /// What the task does when it is woken.
    fn look(&self) -> Option<Seen> {
        let posted = std::mem::take(&mut *self.mailbox.lock().unwrap());
        assert!(posted <= 1, "a handle was posted twice");
        (posted > 0).then(|| self.mark.take())
    }
}

#[test]
fn no_order_loses_a_join_or_a_message() {
    loom::model(|| {
        let handle = Arc::new(Handle { mark: Mark::new(), mailbox: Mutex::new(0) });
        let others = [true, false].map(|joins| {
            let handle = handle.clone();
            thread::spawn(move || {
                if joins {
                    handle.mark.come();
                    handle.post(TALLY);
                } else {
                    handle.mark.hear();
                    handle.post(HEARD);
                }
            })
        });
        let first = handle.look();
        others.into_iter().for_each(|other| other.join().unwrap());
        let looks: Vec<Seen> = [first, handle.look()].into_iter().flatten().collect();
        let last = looks.last().unwrap();
        assert_eq!((last.here, last.heard), (1, 1));
        assert_eq!(looks.iter().fold(0, |all, look| all | look.flags) & (TALLY | HEARD), TALLY | HEARD);
        assert!(handle.look().is_none());
    });
}

#[test]
fn who_comes_and_goes_again_is_gone_in_the_end() {
    loom::model(|| {
        let handle = Arc::new(Handle { mark: Mark::new(), mailbox: Mutex::new(0) });
        let other = {
            let handle = handle.clone();
            thread::spawn(move || {
                handle.mark.come();
                handle.post(TALLY);
                handle.mark.go();
                handle.post(TALLY);
            })
        };
        let first = handle.look();
        other.join().unwrap();
        let last = handle.look().or(first).unwrap();
        assert_eq!(last.here, 0);
    });
}
