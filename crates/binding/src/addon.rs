//! The addon, made of its calls. They are a crate of their own because link-time optimisation runs at the level of the crate that is linked, which
//! the cells need high, and no cell passes the calls, which are small at another.

pub use anonnet_calls as calls;
