//! The users of the embedded store, from the configuration to the store.

use crate::config::StoreUser;
use crate::store::{User, check_user as check};

/// A user as the store takes it.
pub fn user(user: &StoreUser) -> User {
    User { name: user.name.clone(), password: user.password.clone(), rules: user.rules.clone() }
}

/// Says what is wrong with a user of the embedded store.
///
/// # Errors
/// Its name or one of its rules cannot be; the password is not part of the error.
pub fn check_user(one: &StoreUser) -> Result<(), String> {
    check(&user(one)).map_err(|problem| problem.to_string())
}
