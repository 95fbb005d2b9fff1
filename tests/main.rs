//! Every test is a promise that the product makes, kept on the wire.
