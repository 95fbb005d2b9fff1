//! Publishing messages, and listing channels and their subscribers.

use super::other_subcommand;
use crate::glob;
use crate::store::args::is;
use crate::store::data::Data;
use crate::store::error::Outcome;
use crate::store::pubsub::SubscriptionKind;
use crate::store::reply::Reply;
use crate::store::resp::Args;

pub fn publish(data: &mut Data, args: &Args, out: &mut Reply) -> Outcome {
    out.len(data.pubsub.publish(args[1], args[2], SubscriptionKind::Channel)?);
    Ok(())
}

pub fn spublish(data: &mut Data, args: &Args, out: &mut Reply) -> Outcome {
    out.len(data.pubsub.publish(args[1], args[2], SubscriptionKind::Shard)?);
    Ok(())
}

pub fn introspect(data: &mut Data, args: &Args, out: &mut Reply) -> Outcome {
    let kind = if args[1].len() > 5 && is(&args[1][..5], "SHARD") {
        SubscriptionKind::Shard
    } else {
        SubscriptionKind::Channel
    };
    match args {
        [_, what, pattern @ ..] if (is(what, "CHANNELS") || is(what, "SHARDCHANNELS")) && pattern.len() < 2 => {
            let found: Vec<&[u8]> = data
                .pubsub
                .active(kind)
                .filter(|name| pattern.first().is_none_or(|pattern| glob::matches(pattern, name)))
                .collect();
            out.bulks(found.into_iter());
        }
        [_, what, names @ ..] if is(what, "NUMSUB") || is(what, "SHARDNUMSUB") => {
            out.array(names.len() * 2);
            for name in names {
                out.bulk(name);
                out.len(data.pubsub.subscribers(kind, name));
            }
        }
        [_, what] if is(what, "NUMPAT") => out.len(data.pubsub.count(SubscriptionKind::Pattern)),
        _ => return other_subcommand("PUBSUB", args, out),
    }
    Ok(())
}
