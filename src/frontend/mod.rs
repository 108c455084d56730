//! What people sit in front of. Front ends send commands to the engine and fold its events; they own no truth.
