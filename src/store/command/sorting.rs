//! `SORT`: the elements of a list, a set or a sorted set, by value or by other keys.

use std::cmp::Ordering;

use crate::store::args::{Cursor, int, is};
use crate::store::error::{CommandError, Outcome, SYNTAX, WRONGTYPE};
use crate::store::keyspace::Keyspace;
use crate::store::keyspace_events::Classes;
use crate::store::number::parse_float;
use crate::store::reply::Reply;
use crate::store::resp::{ArgList, Args};
use crate::store::small_bytes::SmallBytes;
use crate::store::value::{Collection, List, Value};
use crate::store::zset::Zset;

/// The most elements in one command of the log.
const BATCH: usize = 512;

/// The parsed options.
#[derive(Default)]
struct Request<'a> {
    descending: bool,
    alpha: bool,
    limit: Option<(i64, i64)>,
    by: Option<&'a [u8]>,
    gets: Vec<&'a [u8]>,
    store: Option<&'a [u8]>,
}

impl<'a> Request<'a> {
    fn parse(args: &Args<'a>, read_only: bool) -> Result<Self, CommandError> {
        let mut request = Self::default();
        let mut cursor = Cursor::new(args, 2);
        while let Some(word) = cursor.next() {
            match () {
                () if is(word, "ASC") => request.descending = false,
                () if is(word, "DESC") => request.descending = true,
                () if is(word, "ALPHA") => request.alpha = true,
                () if is(word, "LIMIT") && cursor.left() >= 2 => {
                    request.limit = Some((int(cursor.value()?)?, int(cursor.value()?)?));
                }
                () if is(word, "STORE") && cursor.left() >= 1 && !read_only => request.store = Some(cursor.value()?),
                () if is(word, "BY") && cursor.left() >= 1 => request.by = Some(cursor.value()?),
                () if is(word, "GET") && cursor.left() >= 1 => request.gets.push(cursor.value()?),
                () => return Err(SYNTAX),
            }
        }
        Ok(request)
    }

    /// Whether the elements keep their order, which a `BY` without a `*` asks for.
    fn is_unsorted(&self) -> bool {
        self.by.is_some_and(|by| !by.contains(&b'*'))
    }

    /// The range that `LIMIT` selects from `len` elements.
    fn range(&self, len: usize) -> std::ops::Range<usize> {
        let Some((offset, count)) = self.limit else { return 0..len };
        let start = (offset.max(0) as usize).min(len);
        let count = if count < 0 { len } else { (count as usize).min(len) };
        start..start.saturating_add(count).min(len)
    }
}

/// A pattern of `BY` or `GET`.
struct Pattern<'a> {
    before: &'a [u8],
    after: &'a [u8],
    /// The hash field after `->`, if there is one.
    field: Option<&'a [u8]>,
}

impl<'a> Pattern<'a> {
    /// Parses a pattern. One without a `*` refers to no key and yields `None`.
    fn parse(text: &'a [u8]) -> Option<Self> {
        let star = text.iter().position(|byte| *byte == b'*')?;
        let (before, after) = (&text[..star], &text[star + 1..]);
        let arrow = after.windows(2).position(|two| two == b"->").filter(|at| at + 2 < after.len());
        Some(match arrow {
            Some(at) => Self { before, after: &after[..at], field: Some(&after[at + 2..]) },
            None => Self { before, after, field: None },
        })
    }

    fn find(&self, keys: &mut Keyspace, element: &[u8]) -> Option<SmallBytes> {
        let key = [self.before, element, self.after].concat();
        match (keys.get(&key)?, self.field) {
            (Value::Hash(hash), Some(field)) => hash.get(field).map(SmallBytes::new),
            (_, Some(_)) => None,
            (value, None) => value.as_string().map(|bytes| SmallBytes::new(&bytes)),
        }
    }
}

/// The value that a pattern refers to for an element.
fn lookup(keys: &mut Keyspace, text: &[u8], element: &SmallBytes) -> Option<SmallBytes> {
    if text == b"#" { Some(element.clone()) } else { Pattern::parse(text)?.find(keys, element) }
}

/// The weight by which an element is sorted.
enum Weight {
    Number(f64),
    Text(Option<SmallBytes>),
    Itself,
}

impl Weight {
    fn of(keys: &mut Keyspace, request: &Request, element: &SmallBytes) -> Result<Self, CommandError> {
        let named = request.by.map(|by| lookup(keys, by, element));
        if request.alpha {
            return Ok(named.map_or(Self::Itself, Self::Text));
        }
        let text = named.unwrap_or_else(|| Some(element.clone()));
        let error = || CommandError::new("ERR One or more scores can't be converted into double");
        let number = match text.as_deref().map(<[u8]>::trim_ascii_start) {
            None | Some(b"") => Some(0.0),
            Some(digits) => parse_float(digits),
        };
        number.map(Self::Number).ok_or_else(error)
    }

    fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Number(one), Self::Number(other)) => one.total_cmp(other),
            (Self::Text(one), Self::Text(other)) => one.cmp(other),
            _ => Ordering::Equal,
        }
    }
}

/// The elements of a list, a set or a sorted set, in their own order.
fn elements(keys: &mut Keyspace, key: &[u8], descending: bool) -> Result<Vec<SmallBytes>, CommandError> {
    Ok(match keys.get(key) {
        None => Vec::new(),
        Some(Value::List(list)) if descending => list.items.iter().rev().cloned().collect(),
        Some(Value::List(list)) => list.items.iter().cloned().collect(),
        Some(Value::Set(set)) => set.iter().map(SmallBytes::new).collect(),
        Some(Value::Zset(_)) => {
            let Some(mut zset) = keys.write::<Zset>(key)? else { return Ok(Vec::new()) };
            // Redis converts a sorted set to its large form to sort it, and never converts it back.
            zset.outgrow();
            zset.range(0..zset.len(), descending).map(|(member, _)| SmallBytes::new(member)).collect()
        }
        Some(_) => return Err(WRONGTYPE),
    })
}

fn sorted(keys: &mut Keyspace, request: &Request, elements: Vec<SmallBytes>) -> Result<Vec<SmallBytes>, CommandError> {
    let mut weighed = Vec::with_capacity(elements.len());
    for element in elements {
        weighed.push((Weight::of(keys, request, &element)?, element));
    }
    weighed.sort_by(|(weight, one), (against, other)| {
        let order = weight.compare(against);
        // The order of elements with equal texts is not specified, so the tie is not broken.
        let order = if matches!(weight, Weight::Text(_)) { order } else { order.then_with(|| one.cmp(other)) };
        if request.descending { order.reverse() } else { order }
    });
    Ok(weighed.into_iter().map(|(_, element)| element).collect())
}

pub fn sort(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    run(keys, args, out, false)
}

pub fn sort_ro(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    run(keys, args, out, true)
}

fn run(keys: &mut Keyspace, args: &Args, out: &mut Reply, read_only: bool) -> Outcome {
    let mut request = Request::parse(args, read_only)?;
    let is_set = matches!(keys.get(args[1]), Some(Value::Set(_)));
    if is_set && request.is_unsorted() {
        // A set has no order of its own, and a stored result must not depend on chance.
        (request.alpha, request.by) = (true, None);
    }
    let unsorted = request.is_unsorted();
    let mut found = elements(keys, args[1], unsorted && request.descending)?;
    if !unsorted {
        found = sorted(keys, &request, found)?;
    }
    let range = request.range(found.len());
    match request.store {
        Some(target) => store(keys, &request, &found[range], target, out),
        None => {
            reply(keys, &request, &found[range], out);
            Ok(())
        }
    }
}

fn reply(keys: &mut Keyspace, request: &Request, found: &[SmallBytes], out: &mut Reply) {
    if request.gets.is_empty() {
        return out.bulks(found.iter().map(|element| &**element));
    }
    out.array(found.len() * request.gets.len());
    for element in found {
        for get in &request.gets {
            if out.is_too_large() {
                return;
            }
            out.bulk_or_null(lookup(keys, get, element).as_deref());
        }
    }
}

fn store(keys: &mut Keyspace, request: &Request, found: &[SmallBytes], target: &[u8], out: &mut Reply) -> Outcome {
    let (mut list, mut bytes) = (List::default(), 0);
    for element in found {
        if request.gets.is_empty() {
            list.push(false, element.clone());
        }
        for get in &request.gets {
            let item = lookup(keys, get, element).unwrap_or_else(|| SmallBytes::new(b""));
            // A few long strings may be fetched for very many elements.
            bytes += item.len() + size_of::<SmallBytes>();
            keys.check_growth(0, bytes)?;
            list.push(false, item);
        }
    }
    out.len(list.len());
    if list.len() == 0 {
        if keys.delete(target) {
            keys.journal.instead(keys.selected, &[b"DEL", target]);
        }
        return Ok(());
    }
    if keys.journal.enabled {
        keys.journal.instead(keys.selected, &[b"DEL", target]);
        for items in list.items.iter().collect::<Vec<_>>().chunks(BATCH) {
            let mut noted: ArgList = [&b"RPUSH"[..], target].into_iter().collect();
            noted.extend(items.iter().map(|item| &***item));
            keys.journal.instead(keys.selected, &noted);
        }
    }
    keys.insert(target, list.into_value());
    keys.changed_by(Classes::LIST, "sortstore", target);
    Ok(())
}
