//! TLS as checks need it: who is trusted, and what a peer's certificate says, also where it is refused. Owns no action.

pub mod certificate;
pub mod refusal;
pub mod trust;
