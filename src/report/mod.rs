//! Reports for people and auditors, made from a journal that was read.
