//! Opens a session: resolves, connects, verifies the host's key, and only then shows who we are. Blocks; nothing of the
//! effect has been sent when it fails.

use std::fs;
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use ssh2::{ErrorCode, KeyboardInteractivePrompt, MethodType, Prompt, Session};

use crate::provider::action::{ActionError, ActionErrorKind};

use super::hosts::{HostKey, Known, Verdict};
use super::target::{Proof, SshTarget};

/// How long a connection and each answer on it may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often a sign of life is asked for, in seconds.
const KEEPALIVE: u32 = 15;

// libssh2.h, LIBSSH2_ERROR_*.
const AUTHENTICATION_FAILED: i32 = -18;
const PUBLICKEY_UNVERIFIED: i32 = -19;
const FILE: i32 = -16;
const METHOD_NONE: i32 = -17;
const KEYFILE_AUTH_FAILED: i32 = -48;
const KEY_EXCHANGE_FAILURE: i32 = -8;
const KEX_FAILURE: i32 = -5;

/// How libssh2 begins what it says where no answer came.
const UNANSWERED: &str = "Waiting for ";

/// A session that may be used.
pub struct Opened {
    pub session: Session,
    /// The same connection, to wait for.
    pub stream: TcpStream,
    pub host_key: HostKey,
}

fn transient(words: String) -> ActionError {
    ActionError::new(ActionErrorKind::Transient, words)
}

fn permanent(words: String) -> ActionError {
    ActionError::new(ActionErrorKind::Permanent, words)
}

/// Opens a session of the target.
pub fn open(target: &SshTarget) -> Result<Opened, ActionError> {
    let stream = connect(target)?;
    let broken = |error: std::io::Error| transient(format!("{target}: {error}; look at the connection, then retry"));
    stream.set_nodelay(true).map_err(broken)?;
    let waited_for = stream.try_clone().map_err(broken)?;
    let mut session = Session::new().map_err(|error| transient(format!("{target}: {error}; retry")))?;
    session.set_timeout(u32::try_from(PATIENCE.as_millis()).unwrap_or(u32::MAX));
    let known = Known::read(&session, target).map_err(permanent)?;
    session
        .method_pref(MethodType::HostKey, &known.preferred())
        .map_err(|error| permanent(format!("{target}: its kinds of host keys cannot be asked for: {error}")))?;
    session.set_tcp_stream(stream);
    session.handshake().map_err(|error| {
        let words = format!("{target}: the handshake failed: {}", error.message());
        match error.code() {
            ErrorCode::Session(KEX_FAILURE | KEY_EXCHANGE_FAILURE) => {
                permanent(format!("{words}; does the host offer what is asked for?"))
            }
            ErrorCode::Session(_) | ErrorCode::SFTP(_) => transient(format!("{words}; is an SSH server there?")),
        }
    })?;
    let host_key = verify(&session, target, &known)?;
    authenticate(&session, target)?;
    session.set_keepalive(true, KEEPALIVE);
    Ok(Opened {
        session,
        stream: waited_for,
        host_key,
    })
}

fn connect(target: &SshTarget) -> Result<TcpStream, ActionError> {
    let addresses = (target.host.as_str(), target.port).to_socket_addrs().map_err(|error| {
        transient(format!(
            "{}: no address was found: {error}; is the name right?",
            target.host
        ))
    })?;
    let mut last = format!("{}: the name has no address; is it right?", target.host);
    for address in addresses {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = format!("{target} cannot be reached at {address}: {error}; is it up?"),
        }
    }
    Err(transient(last))
}

/// Before a word of ours is said to it.
fn verify(session: &Session, target: &SshTarget, known: &Known) -> Result<HostKey, ActionError> {
    let (bytes, _) = session
        .host_key()
        .ok_or_else(|| permanent(format!("{target} shows no host key; is an SSH server there?")))?;
    let key = HostKey::new(bytes);
    let file = target.known_hosts.display();
    let shows = format!("it shows {}", key.words());
    match known.judge(session, target, bytes) {
        Verdict::Known => Ok(key),
        Verdict::Unknown => Err(permanent(format!(
            "{target} is not known: {shows}, and no line of {file} names it and its port with this key; ask whoever runs it for its fingerprint, \
             and only if it is this one add the line: {}",
            key.line_for(target)
        ))),
        Verdict::Changed { line } => Err(permanent(format!(
            "THE HOST KEY OF {target} HAS CHANGED: {shows}, and line {line} of {file} has another key. Somebody may be \
             in the middle, or the host was set up anew. Nothing was said to it; ask whoever runs it before you change \
             that line"
        ))),
        Verdict::Revoked { line } => Err(permanent(format!(
            "THE HOST KEY OF {target} IS REVOKED: {shows}, and line {line} of {file} says that it must not be trusted; \
             ask whoever runs it"
        ))),
    }
}

/// Answers every question with the password: servers often ask for it in this way only.
struct Answer<'a>(&'a str);

impl KeyboardInteractivePrompt for Answer<'_> {
    fn prompt<'a>(&mut self, _user: &str, _instructions: &str, prompts: &[Prompt<'a>]) -> Vec<String> {
        prompts.iter().map(|_| self.0.to_owned()).collect()
    }
}

fn authenticate(session: &Session, target: &SshTarget) -> Result<(), ActionError> {
    let user = &target.user;
    let tried = match &target.proof {
        Proof::Key { file, passphrase } => {
            let unusable = |words: String| permanent(format!("the key {} {words}", file.display()));
            let meta =
                fs::metadata(file).map_err(|error| unusable(format!("cannot be read: {error}; is it there?")))?;
            if meta.permissions().mode() & 0o077 != 0 {
                return Err(unusable(format!(
                    "may be read or changed by others; chmod 600 {}",
                    file.display()
                )));
            }
            session.userauth_pubkey_file(user, None, file, passphrase.as_deref())
        }
        Proof::Agent { socket } => return by_agent(session, target, socket),
        Proof::Password(password) => {
            let methods = session.auth_methods(user).unwrap_or_default().to_owned();
            if !methods.contains("password") && methods.contains("keyboard-interactive") {
                session.userauth_keyboard_interactive(user, &mut Answer(password))
            } else {
                session.userauth_password(user, password)
            }
        }
    };
    tried.map_err(|error| refused(target, &error))
}

fn by_agent(session: &Session, target: &SshTarget, socket: &std::path::Path) -> Result<(), ActionError> {
    let unusable = |error: ssh2::Error| {
        permanent(format!(
            "the agent at {} does not answer: {}; does it run?",
            socket.display(),
            error.message()
        ))
    };
    let mut agent = session.agent().map_err(unusable)?;
    agent.set_identity_path(socket).map_err(unusable)?;
    agent.connect().map_err(unusable)?;
    agent.list_identities().map_err(unusable)?;
    let identities = agent.identities().map_err(unusable)?;
    let mut last = None;
    for (tried, identity) in identities.iter().enumerate() {
        match agent.userauth(&target.user, identity) {
            Ok(()) => return Ok(()),
            Err(error) if is_refusal(&error) => last = Some(refused(target, &error)),
            // Hosts hang up after some keys (`MaxAuthTries`).
            Err(_) if tried > 0 => {
                return Err(permanent(format!(
                    "{target} refused {tried} of {} keys of the agent and hung up; offer fewer, or name the key",
                    identities.len()
                )));
            }
            Err(error) => return Err(refused(target, &error)),
        }
        if session.authenticated() {
            return Ok(());
        }
    }
    Err(last.unwrap_or_else(|| permanent(format!("the agent at {} has no key; ssh-add one", socket.display()))))
}

/// Whether it says that the proof is not taken, and not that the connection broke.
fn is_refusal(error: &ssh2::Error) -> bool {
    match error.code() {
        // No answer has the code of a refusal where the connection broke before it came.
        ErrorCode::Session(PUBLICKEY_UNVERIFIED) => !error.message().starts_with(UNANSWERED),
        ErrorCode::Session(code) => matches!(code, AUTHENTICATION_FAILED | FILE | METHOD_NONE | KEYFILE_AUTH_FAILED),
        ErrorCode::SFTP(_) => false,
    }
}

fn refused(target: &SshTarget, error: &ssh2::Error) -> ActionError {
    if is_refusal(error) {
        let words = format!("{target} refused {}: {}", target.proof.words(), error.message());
        return permanent(format!(
            "{words}; is the account right, and is its key in authorized_keys?"
        ));
    }
    transient(format!("{target}: logging in failed: {}; retry", error.message()))
}
