//! Geo commands: finding the members around a place.

use crate::store::args::{int, is};
use crate::store::error::{CommandError, Outcome, SYNTAX};
use crate::store::geo::{self, Coordinates, Shape};
use crate::store::keyspace::Keyspace;
use crate::store::keyspace_events::Classes;
use crate::store::number::{format_double, parse_float};
use crate::store::reply::Reply;
use crate::store::resp::{ArgList, Args};
use crate::store::small_bytes::SmallBytes;
use crate::store::value::Collection;
use crate::store::zset::Zset;

use super::places::{parse_place, parse_unit, place_of, reply_distance, reply_place};

/// The most members in one command of the log.
const BATCH: usize = 256;

/// The command that is run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// `GEORADIUS`
    Radius,
    /// `GEORADIUSBYMEMBER`
    ByMember,
    /// `GEOSEARCH`
    Search,
    /// `GEOSEARCHSTORE`
    SearchStore,
}

/// A parsed search.
#[derive(Default)]
struct Request<'a> {
    middle: Option<Coordinates>,
    /// Whether the middle is given as a member. If the set is missing, its position is unknown.
    from_member: bool,
    shape: Option<Shape>,
    unit: f64,
    with_distance: bool,
    with_number: bool,
    with_place: bool,
    /// `true` puts the nearest first, `false` the farthest.
    sorted: Option<bool>,
    /// The most members to return; 0 means all.
    count: usize,
    any: bool,
    store: Option<&'a [u8]>,
    store_distance: bool,
    /// Whether the command is `GEOSEARCH` or `GEOSEARCHSTORE`.
    searching: bool,
}

/// A member that was found.
struct Found {
    member: SmallBytes,
    distance: f64,
    number: f64,
}

fn not_negative(text: &[u8], what: &str, negative: &'static str) -> Result<f64, CommandError> {
    let number = parse_float(text).ok_or_else(|| CommandError::new(format!("ERR need numeric {what}")))?;
    if number < 0.0 { Err(CommandError::new(negative)) } else { Ok(number) }
}

fn circle(radius: &[u8], unit: &[u8]) -> Result<(Shape, f64), CommandError> {
    let radius = not_negative(radius, "radius", "ERR radius cannot be negative")?;
    let unit = parse_unit(unit)?;
    Ok((Shape::Circle(radius * unit), unit))
}

/// The place of a member.
fn member(zset: &Zset, name: &[u8]) -> Result<Coordinates, CommandError> {
    place_of(zset, name).ok_or(CommandError::new("ERR could not decode requested zset member"))
}

impl<'a> Request<'a> {
    /// Parses a search. `zset` is the set to be searched, if it exists.
    fn parse(args: &Args<'a>, form: Form, read_only: bool, zset: Option<&Zset>) -> Result<Self, CommandError> {
        let mut request = Self { unit: 1.0, ..Self::default() };
        let mut at = match form {
            Form::Radius => {
                request.middle = Some(parse_place(args[2], args[3])?);
                let (shape, unit) = circle(args[4], args[5])?;
                (request.shape, request.unit) = (Some(shape), unit);
                6
            }
            Form::ByMember => {
                if let Some(zset) = zset {
                    request.middle = Some(member(zset, args[2])?);
                    let (shape, unit) = circle(args[3], args[4])?;
                    (request.shape, request.unit) = (Some(shape), unit);
                }
                5
            }
            Form::Search => 2,
            Form::SearchStore => {
                request.store = Some(args[1]);
                3
            }
        };
        let searching = matches!(form, Form::Search | Form::SearchStore);
        request.searching = searching;
        while let [word, rest @ ..] = &args[at..] {
            at += 1;
            match rest {
                _ if is(word, "WITHDIST") => request.with_distance = true,
                _ if is(word, "WITHHASH") => request.with_number = true,
                _ if is(word, "WITHCOORD") => request.with_place = true,
                _ if is(word, "ANY") => request.any = true,
                _ if is(word, "ASC") => request.sorted = Some(true),
                _ if is(word, "DESC") => request.sorted = Some(false),
                [count, ..] if is(word, "COUNT") => {
                    request.count = usize::try_from(int(count)?).unwrap_or(0);
                    if request.count == 0 {
                        return Err(CommandError::new("ERR COUNT must be > 0"));
                    }
                    at += 1;
                }
                [key, ..] if !searching && !read_only && (is(word, "STORE") || is(word, "STOREDIST")) => {
                    request.store = Some(key);
                    request.store_distance = is(word, "STOREDIST");
                    at += 1;
                }
                _ if form == Form::SearchStore && is(word, "STOREDIST") => request.store_distance = true,
                _ if searching => at += request.around(word, rest, zset)?,
                _ => return Err(SYNTAX),
            }
        }
        request.check(args, form)?;
        Ok(request)
    }

    /// Parses a middle or a shape; returns the number of arguments used.
    fn around(&mut self, word: &[u8], rest: &Args<'a>, zset: Option<&Zset>) -> Result<usize, CommandError> {
        match rest {
            [name, ..] if is(word, "FROMMEMBER") && !self.has_middle() => {
                self.from_member = true;
                self.middle = zset.map(|zset| member(zset, name)).transpose()?;
                Ok(1)
            }
            [longitude, latitude, ..] if is(word, "FROMLONLAT") && !self.has_middle() => {
                self.middle = Some(parse_place(longitude, latitude)?);
                Ok(2)
            }
            [radius, unit, ..] if is(word, "BYRADIUS") && self.shape.is_none() => {
                let (shape, unit) = circle(radius, unit)?;
                (self.shape, self.unit) = (Some(shape), unit);
                Ok(2)
            }
            [width, height, unit, ..] if is(word, "BYBOX") && self.shape.is_none() => {
                let negative = "ERR height or width cannot be negative";
                let (width, height) =
                    (not_negative(width, "width", negative)?, not_negative(height, "height", negative)?);
                self.unit = parse_unit(unit)?;
                self.shape = Some(Shape::Box(width * self.unit, height * self.unit));
                Ok(3)
            }
            _ => Err(SYNTAX),
        }
    }

    fn has_middle(&self) -> bool {
        self.from_member || self.middle.is_some()
    }

    fn check(&mut self, args: &Args, form: Form) -> Outcome {
        let name = String::from_utf8_lossy(args[0]).into_owned();
        if self.store.is_some() && (self.with_distance || self.with_number || self.with_place) {
            let what = if form == Form::SearchStore { "GEOSEARCHSTORE" } else { "STORE option in GEORADIUS" };
            return Err(CommandError::new(format!(
                "ERR {what} is not compatible with WITHDIST, WITHHASH and WITHCOORD options"
            )));
        }
        let searching = self.searching;
        if searching && !self.has_middle() {
            return Err(CommandError::new(format!(
                "ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for {name}"
            )));
        }
        if searching && self.shape.is_none() {
            return Err(CommandError::new(format!(
                "ERR exactly one of BYRADIUS and BYBOX can be specified for {name}"
            )));
        }
        if self.any && self.count == 0 {
            return Err(CommandError::new("ERR the ANY argument requires COUNT argument"));
        }
        if self.count > 0 && !self.any && self.sorted.is_none() {
            // A count without `ANY` selects the nearest members.
            self.sorted = Some(true);
        }
        Ok(())
    }

    /// Finds the members of a set that match.
    fn find(&self, zset: &Zset) -> Vec<Found> {
        let Some((middle, shape)) = self.middle.zip(self.shape) else { return Vec::new() };
        let mut found = Vec::new();
        for (from, to) in geo::areas(shape, middle) {
            let start = zset.count_while(|score, _| score < from as f64);
            for (member, number) in zset.range(start..zset.len(), false) {
                if number >= to as f64 || self.any && found.len() >= self.count {
                    break;
                }
                if let Some(distance) = shape.distance(middle, geo::place(number as u64)) {
                    found.push(Found { member: SmallBytes::new(member), distance: distance / self.unit, number });
                }
            }
        }
        match self.sorted {
            Some(true) => found.sort_by(|one, other| one.distance.total_cmp(&other.distance)),
            Some(false) => found.sort_by(|one, other| other.distance.total_cmp(&one.distance)),
            None => {}
        }
        if self.count > 0 {
            found.truncate(self.count);
        }
        found
    }

    fn reply(&self, found: &[Found], out: &mut Reply) {
        let further = [self.with_distance, self.with_number, self.with_place].into_iter().filter(|with| *with).count();
        out.array(found.len());
        for place in found {
            if further > 0 {
                out.array(1 + further);
            }
            out.bulk(&place.member);
            if self.with_distance {
                reply_distance(place.distance, out);
            }
            if self.with_number {
                out.int(place.number as i64);
            }
            if self.with_place {
                reply_place(geo::place(place.number as u64), out);
            }
        }
    }

    fn store(&self, keys: &mut Keyspace, target: &[u8], found: &[Found], out: &mut Reply) {
        out.len(found.len());
        if found.is_empty() {
            if keys.delete(target) {
                keys.journal.instead(keys.selected, &[b"DEL", target]);
            }
            return;
        }
        let mut zset = Zset::default();
        keys.journal.instead(keys.selected, &[b"DEL", target]);
        for some in found.chunks(BATCH) {
            let score = |place: &Found| if self.store_distance { place.distance } else { place.number };
            let scores: Vec<String> = some.iter().map(|place| format_double(score(place))).collect();
            let mut noted: ArgList = [&b"ZADD"[..], target].into_iter().collect();
            for (place, text) in some.iter().zip(&scores) {
                zset.insert(&place.member, score(place));
                noted.extend([text.as_bytes(), &place.member]);
            }
            keys.journal.instead(keys.selected, &noted);
        }
        keys.insert(target, zset.into_value());
        let event = if self.searching { "geosearchstore" } else { "georadiusstore" };
        keys.changed_by(Classes::ZSET, event, target);
    }
}

fn search(keys: &mut Keyspace, args: &Args, out: &mut Reply, form: Form, read_only: bool) -> Outcome {
    let source = if form == Form::SearchStore { args[2] } else { args[1] };
    let zset = keys.read::<Zset>(source)?;
    let request = Request::parse(args, form, read_only, zset)?;
    let found = zset.map_or_else(Vec::new, |zset| request.find(zset));
    match request.store {
        Some(target) => request.store(keys, target, &found, out),
        None => request.reply(&found, out),
    }
    Ok(())
}

pub fn georadius(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    search(keys, args, out, Form::Radius, false)
}

pub fn georadius_ro(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    search(keys, args, out, Form::Radius, true)
}

pub fn georadiusbymember(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    search(keys, args, out, Form::ByMember, false)
}

pub fn georadiusbymember_ro(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    search(keys, args, out, Form::ByMember, true)
}

pub fn geosearch(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    search(keys, args, out, Form::Search, false)
}

pub fn geosearchstore(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    search(keys, args, out, Form::SearchStore, false)
}
