//! The command line: one file per verb. The only place that prints to standard output and that knows every module.
