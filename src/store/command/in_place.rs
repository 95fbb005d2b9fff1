//! Changing strings in place.

use std::ops::Range;

use crate::store::keyspace::Keyspace;
use crate::store::value::Value;

/// Calls `change` with the string at a key, if there is one. It may write to `ranges` and lengthen the string. The
/// change is not reported.
pub fn edit<T>(
    keys: &mut Keyspace,
    key: &[u8],
    ranges: &[Range<usize>],
    change: impl FnOnce(&mut Vec<u8>) -> T,
) -> Option<T> {
    let mut value = keys.edit(key, ranges)?;
    if !matches!(*value, Value::Growing(_)) {
        let bytes = value.as_string()?.into_owned();
        *value = Value::Growing(Box::new(bytes));
    }
    if let Value::Growing(bytes) = &mut *value { Some(change(bytes)) } else { None }
}
