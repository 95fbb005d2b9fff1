//! `[[channels]]`: which channels exist, which are counted and how they deliver.

use super::row::{ConfigKey, Section, TakesEffect, ValueType};

/// The one row of this section, an array of tables.
pub(super) const SECTION: Section = Section {
    header: "[[channels]]",
    about: &[
        " Which channels exist. No other channel can be joined, since a store may carry channels that are no",
        " browser's business. The first pattern that matches decides; * stands for any run of characters.",
        " The first pattern without a * is the default channel.",
        " Warning: the tables in this file replace all the default ones.",
        "",
        "   count    \"visitors\": people who joined are counted, each once however many tabs they have, in a key",
        "            of the channel's name.",
        "            \"sockets\": connections that joined are counted, in a key of the channel's name.",
        "            \"none\": the channel only carries messages.",
        "   deliver  \"latest\": a client that is behind gets the newest value, and pushes are paced.",
        "            \"every\": all messages in order; a client that falls too far behind is closed.",
        "   linger   How long a visitor whose last connection ended is still counted, so that a click from page to",
        "            page changes no number: \"1s\" unless set, at most \"1m\".",
        "   members  true: clients also see who is here, as a list. Only with count = \"visitors\".",
        "            members_max (1000, at most 10000) and members_bytes (65536, at most 1048576) bound the list.",
        "            A longer one is not shown; the count is.",
        "   access   \"open\": anybody may join or watch. The default. \"token\": whoever has a token that says so.",
        "   publish  \"none\": only programs with access to the store publish. The default. \"token\": clients with a",
        "            token that says so, too. See [auth].",
        "   source   \"pubsub\": what is published on the channel. The default.",
        "            \"zset\": a board. Clients see the top of the sorted set of the channel's name, its size, and",
        "            each change, whatever program writes it. Leave out count and deliver.",
        "   top      How many members a board shows: 1 to 1000. The default is 10.",
        "   order    \"desc\": the highest score is first. \"asc\": the lowest. The default is \"desc\".",
        "   of       A pattern of counted channels: headcount itself keeps this board, whose name has no *. It shows",
        "            those with the most people, at least 2, and everybody who watches it sees their names.",
    ],
    keys: &[ConfigKey {
        path: "channels",
        doc: &[],
        default: DEFAULT,
        kind: ValueType::Channels,
        reload: TakesEffect::Live(|running, new| running.channels = new.channels.clone()),
    }],
};

/// The default in TOML's inline form.
const DEFAULT: &str = r#"[
  { pattern = "users:count", count = "sockets", deliver = "latest" },
  { pattern = "page:/*", count = "visitors", deliver = "latest" },
  { pattern = "public:*", count = "none", deliver = "every" },
  { pattern = "board:*", source = "zset", top = 10, order = "desc" },
]"#;

/// The default as people write it in a file.
pub(super) const TABLES: &str = r#"
[[channels]]
pattern = "users:count"
count = "sockets"
deliver = "latest"

[[channels]]
pattern = "page:/*"
count = "visitors"
deliver = "latest"

[[channels]]
pattern = "public:*"
count = "none"
deliver = "every"

[[channels]]
pattern = "board:*"
source = "zset"
top = 10
order = "desc"

# Which pages have the most people, at least 2 each. Off, because everybody who watches it learns which pages
# are open. Remove the # to switch it on; the page at / then shows it.
#[[channels]]
#pattern = "top:pages"
#source = "zset"
#of = "page:/*"
#top = 10
"#;
