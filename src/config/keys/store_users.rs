//! `[[store.users]]`: users of the embedded store beside the default one.

use super::row::{ConfigKey, Section, TakesEffect, ValueType};

/// The one row of this section, an array of tables.
pub(super) const SECTION: Section = Section {
    header: "[[store.users]]",
    about: &[
        " Users of the embedded store, each with rights of its own. The default user, whose password is",
        " store.password, may do everything, whatever stands here; set that password, or anybody is the default user.",
        "",
        "   name           The user's name, as in AUTH name password.",
        "   password       Its password.",
        "   password_file  A file that contains it; see redis.password_file.",
        "   acl            Its rights, in the words of ACL SETUSER in Redis, from the left to the right:",
        "                  on, off, nopass, ~pattern, %R~pattern, %W~pattern, allkeys, resetkeys, &pattern,",
        "                  allchannels, resetchannels, +command, -command, +command|subcommand, +@category,",
        "                  -@category, allcommands, nocommands. There are no selectors.",
        "                  A user is off and may do nothing until a rule says otherwise.",
    ],
    keys: &[ConfigKey {
        path: "store.users",
        doc: &[],
        default: "[]",
        kind: ValueType::Users,
        reload: TakesEffect::Restart,
    }],
};

/// What stands in the file: nobody, and an example.
pub(super) const TABLES: &str = r#"# Needs a restart. Nobody by default; remove the # for a user with keys and channels of its own.
#[[store.users]]
#name = "app"
#password_file = "app-password"
#acl = "on ~app:* &app:* +@read +@write +@pubsub +@connection -@dangerous"
"#;
