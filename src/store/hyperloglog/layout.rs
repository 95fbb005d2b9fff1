//! The sizes and types that all parts of a HyperLogLog share.

/// The number of registers.
pub const REGISTERS: usize = 16384;
/// The length of the header, in bytes.
pub const HEAD: usize = 16;
/// The length of a string with dense registers, in bytes.
pub const DENSE: usize = HEAD + REGISTERS * 6 / 8;
/// How many bits of an element's hash select its register.
pub const CHOICE: u32 = 14;
/// How many bits of the hash are left; the value of a register is at most one higher than this.
pub const REST: u32 = 64 - CHOICE;

/// Why a string cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unusable {
    /// It is not a HyperLogLog.
    NotOne,
    /// It is a damaged HyperLogLog.
    Damaged,
}

/// All registers, one byte each.
pub type Registers = [u8; REGISTERS];
