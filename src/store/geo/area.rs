//! The shape of a search, and the squares that it scans.

use super::hash::{
    Coordinates, Edges, STEPS, Square, distance, edges, in_degrees, interleave, latitude_distance, separate, square,
};

/// Half the circumference of the earth in the projection that the squares use, in metres.
const HALF_WAY: f64 = 20_037_726.37;

/// The area to search around a place; sizes are in metres.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Shape {
    /// A circle of this radius.
    Circle(f64),
    /// A box of this width and height.
    Box(f64, f64),
}

impl Shape {
    /// The distance of a place from the middle, if the place lies within the shape.
    pub fn distance(self, middle: Coordinates, place: Coordinates) -> Option<f64> {
        match self {
            Self::Circle(radius) => Some(distance(middle, place)).filter(|distance| *distance <= radius),
            Self::Box(width, height) => {
                let beside = Coordinates { longitude: middle.longitude, latitude: place.latitude };
                let within = latitude_distance(place.latitude, middle.latitude) <= height / 2.0
                    && distance(place, beside) <= width / 2.0;
                within.then(|| distance(middle, place))
            }
        }
    }

    /// Half the width and half the height.
    fn halves(self) -> (f64, f64) {
        match self {
            Self::Circle(radius) => (radius, radius),
            Self::Box(width, height) => (width / 2.0, height / 2.0),
        }
    }

    /// The edges of a box that contains the shape.
    fn edges(self, middle: Coordinates) -> Edges {
        let (width, height) = self.halves();
        let up = in_degrees(height);
        // Circles of latitude are shortest on the side towards the pole.
        let nearer = if middle.latitude < 0.0 { middle.latitude - up } else { middle.latitude + up };
        let aside = in_degrees(width / nearer.to_radians().cos());
        Edges {
            longitude: (middle.longitude - aside, middle.longitude + aside),
            latitude: (middle.latitude - up, middle.latitude + up),
        }
    }
}

/// How often each direction must be halved to get squares of about this size.
fn steps(radius: f64, latitude: f64) -> u32 {
    if radius == 0.0 {
        return STEPS;
    }
    let (mut radius, mut steps) = (radius, 1i32);
    while radius < HALF_WAY {
        radius *= 2.0;
        steps += 1;
    }
    steps -= 2;
    // Squares are narrower towards the poles.
    steps -= i32::from(latitude.abs() > 66.0) + i32::from(latitude.abs() > 80.0);
    steps.clamp(1, STEPS as i32) as u32
}

/// The square that is this many squares to the east and to the north, wrapping around at the edges.
fn neighbour(of: Square, east: i64, north: i64) -> Square {
    let (latitude, longitude) = separate(of.bits);
    let parts = 1i64 << of.steps;
    let moved = |at: u64, by: i64| (at as i64 + by).rem_euclid(parts) as u64;
    Square { bits: interleave(moved(latitude, north), moved(longitude, east)), steps: of.steps }
}

/// The squares to scan, in order, as offsets to the east and to the north.
const AROUND: [(i64, i64); 9] = [(0, 0), (0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1)];

/// The ranges of numbers, each with an exclusive end, that cover everything a search can find.
pub fn areas(shape: Shape, middle: Coordinates) -> Vec<(u64, u64)> {
    let bounds = shape.edges(middle);
    let (width, height) = shape.halves();
    let radius = if matches!(shape, Shape::Circle(_)) { width } else { width.hypot(height) };
    let mut steps = steps(radius, middle.latitude);
    let mut center = square(middle, steps);
    let reach = |east, north| edges(neighbour(center, east, north));
    let is_too_small = reach(0, 1).latitude.1 < bounds.latitude.1
        || reach(0, -1).latitude.0 > bounds.latitude.0
        || reach(1, 0).longitude.1 < bounds.longitude.1
        || reach(-1, 0).longitude.0 > bounds.longitude.0;
    if steps > 1 && is_too_small {
        steps -= 1;
        center = square(middle, steps);
    }
    let here = edges(center);
    let is_needless = |east: i64, north: i64| {
        steps >= 2
            && (north < 0 && here.latitude.0 < bounds.latitude.0
                || north > 0 && here.latitude.1 > bounds.latitude.1
                || east < 0 && here.longitude.0 < bounds.longitude.0
                || east > 0 && here.longitude.1 > bounds.longitude.1)
    };
    let mut squares: Vec<u64> = Vec::with_capacity(AROUND.len());
    for (east, north) in AROUND {
        let bits = neighbour(center, east, north).bits;
        // If there are few squares, the neighbours on opposite sides may be the same square.
        if !is_needless(east, north) && !squares.contains(&bits) {
            squares.push(bits);
        }
    }
    let unused = 2 * (STEPS - steps);
    squares.into_iter().map(|bits| (bits << unused, (bits + 1) << unused)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::hash::number;
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_lies_within_a_shape_is_in_one_of_its_areas(
            middle in (-179.0..179.0, -80.0..80.0),
            place in (-5.0f64..5.0, -5.0f64..5.0),
            size in 1.0f64..500_000.0,
            is_box: bool,
        ) {
            let middle = Coordinates { longitude: middle.0, latitude: middle.1 };
            let scale = (size / 111_000.0).min(1.0);
            let longitude = (middle.longitude + place.0 * scale + 180.0).rem_euclid(360.0) - 180.0;
            let place = Coordinates { longitude, latitude: (middle.latitude + place.1 * scale).clamp(-85.0, 85.0) };
            let shape = if is_box { Shape::Box(size, size / 2.0) } else { Shape::Circle(size) };
            if shape.distance(middle, place).is_some() {
                let number = number(place);
                let found = areas(shape, middle).iter().any(|(from, to)| (*from..*to).contains(&number));
                prop_assert!(found, "{middle:?} {place:?} {shape:?}");
            }
        }
    }
}
