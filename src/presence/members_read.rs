//! The presence's requests to the store about the list of members.

use redis::Value;

use super::digits::Digits;
use super::roster::Roll;
use super::roster_news::Head;
use super::scripts::{Scripts, Store, read};
use super::visitor_id::VisitorId;
use crate::backplane::Error;
use crate::config::channels::MembersRule;

/// Reads who is on the list, unless it is too long.
pub(crate) async fn members_of<S: Store>(
    scripts: &Scripts<S>,
    channel: &str,
    rule: Option<MembersRule>,
) -> Result<Roll, Error> {
    members_at(scripts, &scripts.keys.members(channel), rule.map_or(0, |rule| rule.most)).await
}

/// Reads who is on the list at a key, unless it has more than `most` members.
pub async fn members_at<S: Store>(scripts: &Scripts<S>, key: &str, most: u32) -> Result<Roll, Error> {
    let most = Digits::of(most);
    let reply: Vec<Value> = read(scripts.run(&scripts.sources.members, &[key.as_bytes()], &[&most]).await?)?;
    let mut parts = reply.into_iter();
    let word: String = read(parts.next().unwrap_or(Value::Nil))?;
    match (word.as_str(), parts.next()) {
        ("none", _) => Ok(Roll::None),
        ("long", _) => Ok(Roll::Long),
        ("all", Some(fields)) => Ok(roll(read(fields)?)),
        _ => Err(Error::Reply(word)),
    }
}

/// Reads the list from a hash. A hash without a valid head is no list: the next statement creates it anew.
fn roll(fields: Vec<(Vec<u8>, Vec<u8>)>) -> Roll {
    let head = fields.iter().find(|(field, _)| field.is_empty()).and_then(|(_, head)| {
        let mut words = std::str::from_utf8(head).ok()?.split(' ');
        let mut word = || words.next();
        Some((Head::of(word()?, word()?, word()?)?, word()?.into()))
    });
    let Some((head, secret)) = head else { return Roll::None };
    let member = |(field, entry): (Vec<u8>, Vec<u8>)| Some((VisitorId(field.try_into().ok()?), entry));
    Roll::All(head, secret, fields.into_iter().filter_map(member).collect())
}
