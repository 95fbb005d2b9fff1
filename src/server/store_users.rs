//! Converts and checks the users of the embedded store that the configuration names.

use crate::config::StoreUser;
use crate::store::{User, check_user as check};

/// Converts a configured user to the store's type.
pub fn user(user: &StoreUser) -> User {
    User { name: user.name.clone(), password: user.password.clone(), rules: user.rules.clone() }
}

/// Checks a user of the embedded store.
///
/// # Errors
/// Its name or one of its rules is invalid; the error does not contain the password.
pub fn check_user(one: &StoreUser) -> Result<(), String> {
    check(&user(one)).map_err(|problem| problem.to_string())
}
