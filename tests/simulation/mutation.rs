//! Bugs that are planted on purpose: the simulator has to find each of them.

use headcount::backplane::Error;
use headcount::presence::belief::Belief;
use headcount::presence::effect::{Job, JobOutcome};
use headcount::presence::flag;
use headcount::presence::jobs::Context;
use headcount::presence::script_reply::ScriptReply;
use headcount::presence::scripts::Store;
use redis::{Arg, Cmd, Value};

use crate::wire;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutation {
    /// A statement does not check that the lease has not ended.
    NoLeaseCheck,
    /// A lease that has ended is renewed.
    RenewsEndedLease,
    /// A statement adds its number, whatever was stated before.
    AddsEachTime,
    /// What the total holds of ours is not kept; a lost tally is added twice.
    ForgetsOwn,
    /// A repair does not notice that this node's share is gone.
    RepairIgnoresLoss,
    /// A repair leaves a total that is too low.
    RepairDoesNotLift,
    /// A field that is no share ends the script.
    NoCheckOfFields,
    /// A change makes the total what is ours, whatever others put there.
    DropsForeignPart,
    /// Older ids of the same node are not taken out.
    KeepsOldIds,
    /// The reaper strikes the node before its shares are withdrawn.
    ReaperStrikesFirst,
    /// Nobody looks for shares of ids that are no nodes.
    NoStrangers,
    /// A lost reply is taken for a confirmation.
    LossIsConfirmation,
    /// The value is not read after a subscription.
    NoReadAfterSubscribe,
    /// The value is not read after an integer came and it was quiet.
    NoReadAfterQuiet,
    /// A change is not published.
    NoPublish,
    /// A channel that is left stays in the node's list.
    NeverUnlisted,
    /// A key of another type is taken for a foreign one, whoever counts there.
    ExpelsOnDamage,
    /// What the store refuses is taken for a foreign key.
    ExpelsOnRefusal,
    /// Lease ends far in the future are left, though the store's clock was set back.
    LeavesLateLeases,
    /// The node's list is not checked before it is written.
    NoCheckOfList,
    /// A share is stated before the node is listed on its channel.
    StatesUnlisted,
    /// A node does not compare its list in the store with what it knows.
    NoAudit,
    /// Nobody goes through the keys for what dead nodes have left.
    NoScrub,
    /// A share of the node's own that a scrub finds is left.
    LeavesOwnShares,
    /// A list that is answered with the error of one key is taken for a damaged one.
    BelievesErrors,
    /// A node that stops does not withdraw what is left under ids that it had.
    ForgetsSpent,
    /// A batch of visitors does not look at the stamp of the one before.
    NoStamps,
    /// Nobody takes visitors out of what a dead node had.
    NoSweep,
    /// A node's older numbers are left as they are.
    KeepsOldNumbers,
    /// Nobody notices that people and owner cannot both be right.
    NoCheckOfPeople,
    /// People whom no node has are left as they are.
    NoCheckOfOwners,
    /// A node that has lost its lease with everybody's takes the others for dead.
    ReapsTheLiving,
    /// Who has gone stays on the list of members.
    StaysListed,
    /// A change of the list is not published.
    NoNews,
    /// The list is not read after its subscription.
    NoListRead,
}

use Mutation as M;

impl Mutation {
    pub const ALL: [Mutation; 35] = [
        M::NoLeaseCheck,
        M::RenewsEndedLease,
        M::AddsEachTime,
        M::ForgetsOwn,
        M::RepairIgnoresLoss,
        M::RepairDoesNotLift,
        M::NoCheckOfFields,
        M::DropsForeignPart,
        M::KeepsOldIds,
        M::ReaperStrikesFirst,
        M::NoStrangers,
        M::LossIsConfirmation,
        M::NoReadAfterSubscribe,
        M::NoReadAfterQuiet,
        M::NoPublish,
        M::NeverUnlisted,
        M::ExpelsOnDamage,
        M::ExpelsOnRefusal,
        M::LeavesLateLeases,
        M::NoCheckOfList,
        M::StatesUnlisted,
        M::NoAudit,
        M::NoScrub,
        M::LeavesOwnShares,
        M::BelievesErrors,
        M::ForgetsSpent,
        M::NoStamps,
        M::NoSweep,
        M::KeepsOldNumbers,
        M::NoCheckOfPeople,
        M::NoCheckOfOwners,
        M::ReapsTheLiving,
        M::StaysListed,
        M::NoNews,
        M::NoListRead,
    ];

    /// What is replaced by what in the scripts.
    fn patch(self) -> Option<(&'static str, &'static str)> {
        Some(match self {
            M::NoLeaseCheck => ("> tonumber(lease) then", "> tonumber(lease) + 1e12 then"),
            M::RenewsEndedLease => ("or tonumber(ends) < now then", "then"),
            M::AddsEachTime => ("local own = stored or sum + people", "local own = 0"),
            M::ForgetsOwn => ("local own = stored or sum + people", "local own = sum + people"),
            M::RepairIgnoresLoss => ("return share ~= '' and", "return false and"),
            M::RepairDoesNotLift => ("if lift and after < ours then", "if false then"),
            M::NoCheckOfFields => ("integer(fields[i + 1], 1, MOST_SHARE)", "fields[i + 1] + 0"),
            M::DropsForeignPart => ("exists and total + (ours - own) or ours", "ours"),
            M::KeepsOldIds => ("for i = 7, #ARGV do", "for i = 7, 0 do"),
            M::NoPublish => ("if changed then", "if false then"),
            M::LeavesLateLeases => ("'+inf', 'LIMIT', 0, 64", "'+inf', 'LIMIT', 0, 0"),
            M::NoStamps => ("elseif owner.stamp < from or owner.stamp >= to then", "elseif false then"),
            M::NoSweep => ("if settled and owners[number] and owners[number].raw == ARGV[2]", "if false"),
            M::KeepsOldNumbers => ("    sentence(other)\n", ""),
            M::NoCheckOfPeople => (
                "local broken = not claims or no_people or people < most or (people > all and not loose)",
                "local broken = false",
            ),
            M::NoCheckOfOwners => ("(people > all and not loose)", "false"),
            M::StaysListed => ("for i = 1, epoch and #gone or 0, 1000 do", "for i = 1, 0 do"),
            M::NoNews => ("redis.call('PUBLISH', MEMBERS, line", "local _ = (line"),
            M::NoCheckOfList => ("redis.call('DEL', list)", ""),
            M::ExpelsOnDamage => (
                "local counted = marked or not fields or #fields > 0 or no_people or people > 0",
                "local counted = #(fields or {}) > 0",
            ),
            _ => return None,
        })
    }

    /// The command as the mutation sends it; None if it has no hash.
    pub fn rewrite(self, command: &Cmd, bytes: Vec<u8>) -> Option<Vec<u8>> {
        let arguments: Vec<&[u8]> =
            command.args_iter().map(|argument| if let Arg::Simple(bytes) = argument { bytes } else { b"" }).collect();
        if self == M::NoStrangers && arguments[0] == b"HKEYS" {
            return Some(wire::command(&["HKEYS", "nothing"]));
        }
        if self == M::NeverUnlisted && arguments[0] == b"SREM" {
            return Some(wire::command(&["PING"]));
        }
        let Some((old, new)) = self.patch() else { return Some(bytes) };
        match arguments[0] {
            b"EVALSHA" => None,
            b"EVAL" => {
                let source = String::from_utf8_lossy(arguments[1]).replace(old, new);
                let mut changed = vec![b"EVAL".to_vec(), source.into_bytes()];
                changed.extend(arguments[2..].iter().map(|argument| argument.to_vec()));
                Some(wire::command(&changed))
            }
            _ => Some(bytes),
        }
    }

    pub fn reply(self, command: &Cmd, reply: Result<Value, Error>) -> Result<Value, Error> {
        match (self, command.args_iter().next(), reply) {
            (M::BelievesErrors, Some(Arg::Simple(b"SMEMBERS")), Err(Error::Key(_))) => Ok(Value::Array(Vec::new())),
            (M::ReapsTheLiving, Some(Arg::Simple(b"ZMSCORE")), Ok(Value::Array(mut ends))) => {
                // The node itself comes first.
                if let Some(own @ Value::Nil) = ends.first_mut() {
                    *own = Value::BulkString(b"1".to_vec());
                }
                Ok(Value::Array(ends))
            }
            (_, _, reply) => reply,
        }
    }

    pub fn flags(self, flags: u8) -> u8 {
        match self {
            M::NoReadAfterSubscribe => flags & !flag::LIVE,
            M::NoReadAfterQuiet => flags & !flag::HEARD,
            M::NoListRead => flags & !flag::LISTED,
            _ => flags,
        }
    }

    /// The job as the mutation has it. `old_link`: the connection has stood for longer than a lease.
    pub fn job(self, mut job: Job, old_link: bool) -> Option<Job> {
        use headcount::presence::effect::Job::Step;
        match (self, &mut job) {
            (M::ForgetsSpent, Job::Leave { spent, .. }) => spent.clear(),
            (M::StatesUnlisted, Step(_, step)) => step.list = false,
            (M::ReapsTheLiving, Step(_, step)) => step.may_reap |= old_link,
            (M::NoAudit, Job::Audit(_)) | (M::NoScrub, Job::Scrub(..)) => return None,
            _ => {}
        }
        Some(job)
    }

    pub fn outcome(self, outcome: JobOutcome) -> JobOutcome {
        match (self, outcome) {
            (M::LossIsConfirmation, JobOutcome::Step(name, job, Err(Error::Lost(_)))) => {
                let total =
                    ScriptReply::Total { total: 0, changed: false, damage: String::new(), dying: false, list: None };
                JobOutcome::Step(name, job, Ok(total))
            }
            (M::ExpelsOnRefusal, JobOutcome::Step(name, job, Err(Error::Refused(_)))) => {
                JobOutcome::Step(name, job, Ok(ScriptReply::Foreign))
            }
            (M::LeavesOwnShares, JobOutcome::Scrubbed(Ok(mut scrubbed))) => {
                scrubbed.shares.clear();
                JobOutcome::Scrubbed(Ok(scrubbed))
            }
            (_, outcome) => outcome,
        }
    }
}

/// Reaps as a reaper that strikes first would.
pub async fn strike_first<S: Store>(context: Context<S>, job: Job) -> JobOutcome {
    let Job::Reap(id) = job else { return context.carry_out(job).await };
    let result = async {
        let channels = context.scripts.listed(&id).await?;
        context.scripts.strike(&id).await?;
        for channel in &channels {
            let exact = context.rules.stands(channel);
            context.scripts.repair(channel, exact, Belief::none(&id), None, std::slice::from_ref(&id), None).await?;
        }
        Ok(channels.len())
    };
    let result = result.await;
    JobOutcome::Reap(id, result)
}

#[test]
fn each_patch_changes_a_script() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../src/presence/lua");
    let files = std::fs::read_dir(folder).unwrap().map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap());
    let scripts: String = files.collect();
    for mutation in Mutation::ALL {
        assert!(mutation.patch().is_none_or(|(old, _)| scripts.contains(old)), "{mutation:?}");
    }
}
