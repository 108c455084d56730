//! The journal: the event log that is also the audit log. Owns the bytes on disk; knows nothing of providers.
