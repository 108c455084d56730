//! An SSH connection as the provider sees it: where, as whom, by which proof. Must not connect.

use std::fmt;
use std::path::PathBuf;

/// A host and an account of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshTarget {
    pub host: String,
    pub port: u16,
    pub user: String,
    /// The keys that hosts are known by, in OpenSSH's format (`sshd(8)`, SSH_KNOWN_HOSTS FILE FORMAT).
    pub known_hosts: PathBuf,
    pub proof: Proof,
}

/// How the account is shown to be ours.
#[derive(Clone, PartialEq, Eq)]
pub enum Proof {
    /// A private key in a file.
    Key {
        file: PathBuf,
        passphrase: Option<String>,
    },
    /// The keys of an agent that listens at this socket.
    Agent {
        socket: PathBuf,
    },
    Password(String),
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words())
    }
}

impl Proof {
    /// For people; nothing secret.
    pub fn words(&self) -> String {
        match self {
            Self::Key { file, .. } => format!("the key {}", file.display()),
            Self::Agent { socket } => format!("the keys of the agent at {}", socket.display()),
            Self::Password(_) => "the password".to_owned(),
        }
    }
}

impl fmt::Display for SshTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}:{}", self.user, self.host, self.port)
    }
}
