//! Actions on the outside world, one folder per provider. Only this tree names AWS, SQL, DNS and HTTP clients.

pub mod action;
