//! `pointsman schema`: the JSON Schema of the runbook format.

use crate::provider::registry::catalogue;

use super::out::Out;
use super::trouble::Trouble;

/// Prints the schema.
pub fn perform(out: Out) -> Result<u8, Trouble> {
    let schema = crate::runbook::schema::schema(&catalogue());
    let text = serde_json::to_string_pretty(&schema)
        .map_err(|error| Trouble::failed(format!("the schema cannot be written: {error}")))?;
    out.line(&text);
    Ok(0)
}
