//! Every test is a promise that the product makes, kept on the wire.

mod store_contract;
