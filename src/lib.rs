//! headcount
