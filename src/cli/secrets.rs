//! Fetches the values of a plan's secrets. The values go into connections and the redactor, nowhere else.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use crate::journal::Redactor;
use crate::runbook::plan::SecretSource;

use super::trouble::Trouble;

/// Values that cannot be printed.
#[derive(Clone, Default)]
pub struct Secrets {
    values: BTreeMap<String, String>,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.values.keys()).finish()
    }
}

impl Secrets {
    /// Fetches every secret; one trailing line feed is not part of a value.
    pub fn fetch(sources: &BTreeMap<String, SecretSource>) -> Result<Self, Trouble> {
        let mut values = BTreeMap::new();
        for (name, source) in sources {
            let value = fetch(name, source)?;
            values.insert(name.clone(), value.strip_suffix('\n').unwrap_or(&value).to_owned());
        }
        Ok(Self { values })
    }

    /// The redactor of these secrets.
    pub fn redactor(&self) -> Redactor {
        Redactor::new(self.values.iter().map(|(name, value)| (name.as_str(), value.as_str())))
    }

    /// The value behind `${ secret.NAME }`; any other text is itself.
    pub fn reveal(&self, text: &str) -> String {
        text.strip_prefix("${")
            .and_then(|rest| rest.strip_suffix('}'))
            .and_then(|inner| inner.trim().strip_prefix("secret."))
            .and_then(|name| self.values.get(name))
            .map_or_else(|| text.to_owned(), String::clone)
    }
}

fn fetch(name: &str, source: &SecretSource) -> Result<String, Trouble> {
    let fault = |words: String| Trouble::input(format!("the secret {name}: {words}"));
    match source {
        SecretSource::Env(variable) => std::env::var(variable).map_err(|_unset| {
            fault(format!("the variable {variable} is not set")).hint(format!("set {variable} before the run"))
        }),
        SecretSource::File(path) => {
            let meta = fs::metadata(path).map_err(|error| fault(format!("{path}: {error}")))?;
            if !meta.is_file() {
                return Err(fault(format!("{path} is not a plain file")));
            }
            if meta.permissions().mode() & 0o077 != 0 {
                return Err(
                    fault(format!("others than you may read or change {path}")).hint(format!("chmod 600 {path}"))
                );
            }
            fs::read_to_string(path).map_err(|error| fault(format!("{path}: {error}")))
        }
        SecretSource::Command(argv) => {
            let (program, arguments) = argv
                .split_first()
                .ok_or_else(|| fault("its command is empty".to_owned()))?;
            let output = Command::new(program)
                .args(arguments)
                .stdin(Stdio::null())
                .stderr(Stdio::inherit())
                .output()
                .map_err(|error| fault(format!("{program}: {error}")))?;
            if !output.status.success() {
                return Err(fault(format!("{program} ended with {}", output.status)));
            }
            String::from_utf8(output.stdout).map_err(|_binary| fault(format!("{program} printed no UTF-8")))
        }
        SecretSource::AwsSecret(_) => Err(fault("not available yet: secrets from aws_secret".to_owned())),
    }
}
