//! Estimating a count from registers, after Ertl, "New cardinality estimation algorithms for HyperLogLog sketches"
//! (2017).

use super::layout::{REGISTERS, REST, Registers};

/// The constant for infinitely many registers: 1 / (2 ln 2).
const ALPHA: f64 = 0.721_347_520_444_481_7;

/// Estimates how many distinct elements the registers stand for.
pub fn estimate(registers: &Registers) -> u64 {
    let mut histogram = [0u32; 64];
    for count in registers {
        histogram[usize::from(count & 63)] += 1;
    }
    let m = REGISTERS as f64;
    let highest = REST as usize + 1;
    let mut z = m * tau((m - f64::from(histogram[highest])) / m);
    for count in histogram[1..highest].iter().rev() {
        z = (z + f64::from(*count)) * 0.5;
    }
    z += m * sigma(f64::from(histogram[0]) / m);
    (ALPHA * m * m / z).round() as u64
}

fn sigma(x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut x, mut y, mut z) = (x, 1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z == before {
            return z;
        }
    }
}

fn tau(x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut x, mut y, mut z) = (x, 1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x) * (1.0 - x) * y;
        if z == before {
            return z / 3.0;
        }
    }
}
