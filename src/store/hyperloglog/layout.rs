//! How large everything is, and what all parts speak of.

/// How many registers there are.
pub const REGISTERS: usize = 16384;
/// Bytes of the head.
pub const HEAD: usize = 16;
/// Bytes of a string whose registers are dense.
pub const DENSE: usize = HEAD + REGISTERS * 6 / 8;
/// Bits of an element's hash that choose its register.
pub const CHOICE: u32 = 14;
/// The bits that are left: a register holds at most one more.
pub const REST: u32 = 64 - CHOICE;

/// Why a string cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    /// It is no HyperLogLog.
    NotOne,
    /// It is a damaged one.
    Damaged,
}

/// All registers, one byte each.
pub type Registers = [u8; REGISTERS];
