//! Geo commands: adding places, and returning their positions and distances.

use crate::store::args::is;
use crate::store::error::{CommandError, NOT_A_FLOAT, Outcome, SYNTAX};
use crate::store::geo::{self, Coordinates};
use crate::store::keyspace::Keyspace;
use crate::store::number::{parse_float, trim_zeros};
use crate::store::reply::Reply;
use crate::store::resp::{ArgList, Args};
use crate::store::zset::Zset;

use super::zsets::zadd;

/// Parses a place given as longitude and latitude.
pub fn parse_place(longitude: &[u8], latitude: &[u8]) -> Result<Coordinates, CommandError> {
    let place = Coordinates {
        longitude: parse_float(longitude).ok_or(NOT_A_FLOAT)?,
        latitude: parse_float(latitude).ok_or(NOT_A_FLOAT)?,
    };
    if place.is_valid() {
        return Ok(place);
    }
    let Coordinates { longitude, latitude } = place;
    Err(CommandError::new(format!("ERR invalid longitude,latitude pair {longitude:.6},{latitude:.6}")))
}

/// The length of a unit in metres.
pub fn parse_unit(word: &[u8]) -> Result<f64, CommandError> {
    match () {
        () if is(word, "M") => Ok(1.0),
        () if is(word, "KM") => Ok(1000.0),
        () if is(word, "FT") => Ok(0.3048),
        () if is(word, "MI") => Ok(1609.34),
        () => Err(CommandError::new("ERR unsupported unit provided. please use M, KM, FT, MI")),
    }
}

/// The place of a member. As in Redis, every score is decoded to a place, even one that does not encode a place.
pub fn place_of(zset: &Zset, member: &[u8]) -> Option<Coordinates> {
    zset.score(member).map(|score| geo::place(score as u64))
}

/// Replies with a distance, to four decimal places.
pub fn reply_distance(distance: f64, out: &mut Reply) {
    out.bulk(format!("{distance:.4}").as_bytes());
}

/// Replies with longitude and latitude.
pub fn reply_place(place: Coordinates, out: &mut Reply) {
    out.array(2);
    for degrees in [place.longitude, place.latitude] {
        let text = format!("{degrees:.17}");
        out.exact_double(trim_zeros(&text));
    }
}

pub fn geoadd(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let is_option = |word: &&&[u8]| ["NX", "XX", "CH"].iter().any(|option| is(word, option));
    let options = args[2..].iter().take_while(is_option).count();
    let has = |option| args[2..2 + options].iter().any(|word| is(word, option));
    let places = &args[2 + options..];
    if !places.len().is_multiple_of(3) || has("NX") && has("XX") {
        return Err(SYNTAX);
    }
    let mut scores = Vec::with_capacity(places.len() / 3);
    for place in places.chunks_exact(3) {
        scores.push(geo::number(parse_place(place[0], place[1])?).to_string());
    }
    let mut as_zadd: ArgList = [&b"ZADD"[..], args[1]].into_iter().collect();
    as_zadd.extend(args[2..2 + options].iter().copied());
    as_zadd.extend(scores.iter().zip(places.chunks_exact(3)).flat_map(|(score, place)| [score.as_bytes(), place[2]]));
    zadd(keys, &as_zadd, out)
}

pub fn geopos(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let zset = keys.read::<Zset>(args[1])?;
    out.array(args.len() - 2);
    for member in &args[2..] {
        match zset.and_then(|zset| place_of(zset, member)) {
            Some(place) => reply_place(place, out),
            None => out.null_array(),
        }
    }
    Ok(())
}

pub fn geohash(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let zset = keys.read::<Zset>(args[1])?;
    out.array(args.len() - 2);
    for member in &args[2..] {
        let place = zset.and_then(|zset| place_of(zset, member));
        out.bulk_or_null(place.map(geo::name).as_ref().map(|name| &name[..]));
    }
    Ok(())
}

pub fn geodist(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let unit = match &args[4..] {
        [] => 1.0,
        [unit] => parse_unit(unit)?,
        _ => return Err(SYNTAX),
    };
    let zset = keys.read::<Zset>(args[1])?;
    let [one, other] = [args[2], args[3]].map(|member| zset.and_then(|zset| place_of(zset, member)));
    match one.zip(other) {
        Some((one, other)) => reply_distance(geo::distance(one, other) / unit, out),
        None => out.null(),
    }
    Ok(())
}
