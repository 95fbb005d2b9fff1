//! Converting places to numbers and back.

/// The earth's radius, in metres.
const RADIUS: f64 = 6_372_797.560_856;
/// The latitudes that numbers cover; places nearer to the poles are not valid.
const LATITUDES: (f64, f64) = (-85.051_128_78, 85.051_128_78);
/// The latitudes that standard geohash strings cover.
const ALL_LATITUDES: (f64, f64) = (-90.0, 90.0);
const LONGITUDES: (f64, f64) = (-180.0, 180.0);
/// How often each direction is halved.
pub const STEPS: u32 = 26;
/// The digits of geohash strings.
const DIGITS: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";

/// Longitude and latitude, in degrees.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub struct Coordinates {
    /// From -180 to 180.
    pub longitude: f64,
    /// From -85.05112878 to 85.05112878.
    pub latitude: f64,
}

impl Coordinates {
    /// Whether the coordinates are in range.
    pub fn is_valid(self) -> bool {
        let within = |value: f64, (low, high): (f64, f64)| value >= low && value <= high;
        within(self.longitude, LONGITUDES) && within(self.latitude, LATITUDES)
    }
}

/// A square: the number of halvings, and the bits that say which half was taken each time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Square {
    /// The bits of the latitude at even positions, and those of the longitude at odd ones.
    pub bits: u64,
    /// How often each direction was halved.
    pub steps: u32,
}

/// The edges of a square: the lowest and the highest value in each direction.
#[derive(Debug, Clone, Copy)]
pub struct Edges {
    /// The edges in longitude.
    pub longitude: (f64, f64),
    /// The edges in latitude.
    pub latitude: (f64, f64),
}

fn offset(value: f64, (low, high): (f64, f64), steps: u32) -> u64 {
    ((value - low) / (high - low) * (1u64 << steps) as f64) as u64
}

/// Interleaves the bits of two numbers, those of the first at even positions.
pub fn interleave(even: u64, odd: u64) -> u64 {
    (0..32).fold(0, |sum, bit| sum | (even >> bit & 1) << (2 * bit) | (odd >> bit & 1) << (2 * bit + 1))
}

/// Splits interleaved bits into the two numbers again.
pub fn separate(bits: u64) -> (u64, u64) {
    (0..32).fold((0, 0), |(even, odd), bit| {
        (even | (bits >> (2 * bit) & 1) << bit, odd | (bits >> (2 * bit + 1) & 1) << bit)
    })
}

fn square_within(place: Coordinates, latitudes: (f64, f64), steps: u32) -> Square {
    let latitude = offset(place.latitude, latitudes, steps);
    Square { bits: interleave(latitude, offset(place.longitude, LONGITUDES, steps)), steps }
}

/// The square that a place is in.
pub fn square(place: Coordinates, steps: u32) -> Square {
    square_within(place, LATITUDES, steps)
}

/// The edges of a square.
pub fn edges(square: Square) -> Edges {
    let (latitude, longitude) = separate(square.bits);
    let parts = (1u64 << square.steps) as f64;
    let between = |at: u64, (low, high): (f64, f64)| {
        let edge = |at: u64| low + (at as f64 / parts) * (high - low);
        (edge(at), edge(at + 1))
    };
    Edges { longitude: between(longitude, LONGITUDES), latitude: between(latitude, LATITUDES) }
}

/// The number of a place.
pub fn number(place: Coordinates) -> u64 {
    square(place, STEPS).bits
}

/// The middle of the square that a number stands for.
pub fn place(number: u64) -> Coordinates {
    let edges = edges(Square { bits: number, steps: STEPS });
    let middle = |(low, high): (f64, f64), (least, most): (f64, f64)| f64::midpoint(low, high).clamp(least, most);
    Coordinates { longitude: middle(edges.longitude, LONGITUDES), latitude: middle(edges.latitude, LATITUDES) }
}

/// The geohash string of a place, with eleven digits.
pub fn name(place: Coordinates) -> [u8; 11] {
    let bits = square_within(place, ALL_LATITUDES, STEPS).bits;
    // 52 bits make ten digits; Redis leaves out the remaining two bits and writes a 0.
    std::array::from_fn(|at| if at == 10 { b'0' } else { DIGITS[(bits >> (52 - (at as u32 + 1) * 5) & 31) as usize] })
}

/// How far two latitudes are apart, in metres.
pub fn latitude_distance(one: f64, other: f64) -> f64 {
    RADIUS * (other.to_radians() - one.to_radians()).abs()
}

/// How far two places are apart, in metres.
pub fn distance(one: Coordinates, other: Coordinates) -> f64 {
    let v = ((other.longitude.to_radians() - one.longitude.to_radians()) / 2.0).sin();
    if v == 0.0 {
        return latitude_distance(one.latitude, other.latitude);
    }
    let (latitude, against) = (one.latitude.to_radians(), other.latitude.to_radians());
    let u = ((against - latitude) / 2.0).sin();
    let a = u * u + latitude.cos() * against.cos() * v * v;
    2.0 * RADIUS * a.sqrt().asin()
}

/// Converts the length of an arc, in metres, to degrees.
pub fn in_degrees(metres: f64) -> f64 {
    (metres / RADIUS).to_degrees()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_number_stands_for_a_place_nearby(longitude in -180.0..180.0, latitude in -85.0..85.0) {
            let here = Coordinates { longitude, latitude };
            prop_assert!(here.is_valid());
            prop_assert!(distance(here, place(number(here))) < 1.0);
        }

        #[test]
        fn bits_in_turns_come_apart_again(even: u32, odd: u32) {
            let bits = interleave(even.into(), odd.into());
            prop_assert_eq!(separate(bits), (even.into(), odd.into()));
        }
    }

    #[test]
    fn places_have_the_names_that_all_the_world_uses() {
        let palermo = Coordinates { longitude: 13.361_389, latitude: 38.115_556 };
        assert_eq!(&name(place(number(palermo))), b"sqc8b49rny0");
    }
}
