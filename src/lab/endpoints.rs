//! Where the lab's servers are. Written into its folder, so that others and later processes find them.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::world::LabError;

/// The zone that the lab serves.
pub const ZONE: &str = "lab.test.";
/// Its id.
pub const ZONE_ID: &str = "Z0LAB000000001";
/// The record of the application.
pub const RECORD: &str = "erp.lab.test.";
/// The lab's account.
pub const ACCOUNT: &str = "000000000000";
/// Its region.
pub const REGION: &str = "us-east-1";
/// The replication task.
/// The replication instance that it runs on: its name, and its ARN.
pub const MOVER: (&str, &str) = ("lab-mover", "arn:aws:dms:us-east-1:000000000000:rep:LABMOVER");
/// The replication task.
pub const TASK: &str = "arn:aws:dms:us-east-1:000000000000:task:LABTASK";
/// Addresses of the old and the new application.
pub const OLD: &str = "127.0.0.1";
/// See [`OLD`].
pub const NEW: &str = "127.0.0.2";

/// The lab's addresses and files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Endpoints {
    /// `http://127.0.0.1:PORT`
    pub aws: String,
    pub dns: SocketAddr,
    /// The same port on both application addresses.
    pub app_port: u16,
    pub source: PathBuf,
    pub target: PathBuf,
    pub folder: PathBuf,
    /// How much faster than nominal.
    pub speed: f64,
    pub pid: u32,
}

impl Endpoints {
    /// Reads the endpoints of a lab's folder.
    pub fn read(folder: &Path) -> Result<Self, LabError> {
        let path = folder.join("lab.json");
        let text = fs::read_to_string(&path).map_err(|source| LabError::io(&path, source))?;
        serde_json::from_str(&text).map_err(|error| LabError::State(format!("{}: {error}", path.display())))
    }

    /// Writes them, whole or not at all.
    pub fn write(&self) -> Result<(), LabError> {
        let path = self.folder.join("lab.json");
        let text = serde_json::to_string_pretty(self).map_err(|error| LabError::State(error.to_string()))?;
        let fresh = self.folder.join("lab.json.new");
        fs::write(&fresh, text)
            .and_then(|()| fs::rename(&fresh, &path))
            .map_err(|source| LabError::io(&path, source))
    }
}
