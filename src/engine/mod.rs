//! The only shell around the pure state machine: the dispatcher owns state and journal, executors run actions.
