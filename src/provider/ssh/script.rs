//! The programs that run on the other host. They are POSIX sh, sent over standard input to `/bin/sh`, whatever shell the
//! account has; what they need of ours is put before them in quotes. Must not know what is done with what they say.

use super::quote::quote;
use super::target::SshTarget;

const SHARED: &str = include_str!("remote/shared.sh");
const FOLLOW: &str = include_str!("remote/follow.sh");
const BEGIN: &str = include_str!("remote/begin.sh");
const KEEPER: &str = include_str!("remote/keeper.sh");
const CHILD: &str = include_str!("remote/child.sh");
const UNIT: &str = include_str!("remote/unit.sh");
const READ: &str = include_str!("remote/read.sh");
const READER: &str = include_str!("remote/reader.sh");
const LOOK: &str = include_str!("remote/look.sh");
const ADOPT: &str = include_str!("remote/adopt.sh");
const END: &str = include_str!("remote/end.sh");

/// What every program is told.
#[derive(Debug, Clone, Copy)]
pub struct Told<'a> {
    /// Names the program's own lines.
    pub nonce: &'a str,
    /// The attempt.
    pub key: &'a str,
}

/// A process group, by its leader: a process id alone is given out again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    pub pid: String,
    pub began: String,
    pub boot: String,
    pub machine: String,
}

/// What a command is.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    pub argv: &'a [String],
    /// `NAME=VALUE`.
    pub env: &'a [String],
    pub cwd: &'a str,
}

impl Told<'_> {
    fn program(self, values: &[(&str, &str)], parts: &[&str], arguments: &[&str]) -> String {
        let mut program = String::new();
        let told = [("nonce", self.nonce), ("key", self.key)];
        for (name, value) in told.iter().chain(values) {
            program.push_str(&format!("{name}={}\n", quote(value)));
        }
        for part in [SHARED].iter().chain(parts) {
            program.push_str(part);
        }
        program.push_str("main");
        for argument in arguments {
            program.push(' ');
            program.push_str(&quote(argument));
        }
        program.push('\n');
        program
    }

    /// Begins a command that may change something, under a keeper.
    pub fn begin(self, asked: Asked<'_>) -> String {
        let (keeper, child) = (format!("{SHARED}{KEEPER}"), format!("{SHARED}{CHILD}"));
        let arguments: Vec<&str> = asked.env.iter().chain(asked.argv).map(String::as_str).collect();
        let values = [("cwd", asked.cwd), ("keeper", &keeper), ("child", &child)];
        self.program(&values, &[FOLLOW, BEGIN], &arguments)
    }

    /// The same as a unit of systemd.
    pub fn begin_unit(self, asked: Asked<'_>, unit: &str) -> String {
        let keeper = format!("{SHARED}{UNIT}");
        let set: Vec<String> = asked.env.iter().map(|set| format!("--setenv={set}")).collect();
        let mut arguments = vec![unit, self.key];
        arguments.extend(set.iter().map(String::as_str));
        arguments.push("--");
        arguments.extend(asked.argv.iter().map(String::as_str));
        let values = [("cwd", asked.cwd), ("keeper", &keeper), ("child", "")];
        self.program(&values, &[FOLLOW, BEGIN], &arguments)
    }

    /// Runs a command that only reads.
    pub fn read(self, asked: Asked<'_>) -> String {
        let child = format!("{SHARED}{READER}");
        let arguments: Vec<&str> = asked.env.iter().chain(asked.argv).map(String::as_str).collect();
        self.program(&[("cwd", asked.cwd), ("child", &child)], &[READ], &arguments)
    }

    /// Says what is known of the attempt.
    pub fn look(self) -> String {
        self.program(&[], &[LOOK], &[])
    }

    /// Follows a command that runs.
    pub fn adopt(self) -> String {
        self.program(&[], &[FOLLOW, ADOPT], &[])
    }

    /// Asks a process group to end.
    pub fn end(self, group: &Group) -> String {
        self.program(&[], &[END], &[&group.pid, &group.began, &group.boot])
    }
}

impl Group {
    /// From the words of a program: process id, beginning, boot, machine.
    pub fn read(words: &str) -> Option<Self> {
        let mut words = words.split(' ').map(str::to_owned);
        let (pid, began, boot, machine) = (words.next()?, words.next()?, words.next()?, words.next()?);
        pid.parse::<u32>().ok()?;
        Some(Self {
            pid,
            began,
            boot,
            machine,
        })
    }

    /// What the record says of it; [`Home::read`](super::look::Home::read) reads it again.
    pub fn named(&self, target: &SshTarget) -> String {
        let (pid, boot, machine) = (&self.pid, &self.boot, &self.machine);
        format!("process group {pid} on {target} (boot {boot}, machine {machine})")
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::process::{Command, Stdio};

    use super::*;

    /// What the shared part says when it is asked by an account that may not signal what it is asked about.
    fn asked_by_another_account(words: &str) -> io::Result<String> {
        let mut command = Command::new("/bin/sh");
        if rustix::process::geteuid().is_root() {
            command = Command::new("setpriv");
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "/bin/sh"]);
        }
        let mut shell = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        if let Some(mut program) = shell.stdin.take() {
            program.write_all(format!("nonce=n key=k\n{SHARED}\n{words}\n").as_bytes())?;
        }
        let said = shell.wait_with_output()?.stdout;
        Ok(String::from_utf8_lossy(&said).into_owned())
    }

    #[test]
    fn who_runs_as_somebody_else_is_not_taken_for_ended() -> io::Result<()> {
        let root = rustix::process::geteuid().is_root();
        // Where the test is no root, the first process is.
        let mut own = Command::new("setsid").args(["sleep", "600"]).spawn()?;
        let leader = if root { own.id() } else { 1 };
        let words = format!(
            "until began {leader} && [ \"$pgrp\" != {} ]; do rest; done\nboot\n\
             group_lives \"$pgrp\" \"$began\" \"$boot\" && echo lives\n\
             lives {leader} \"$began\" \"$boot\" && echo leads",
            std::process::id()
        );
        let said = asked_by_another_account(&words);
        own.kill()?;
        own.wait()?;
        assert_eq!(said?, "lives\nleads\n");
        let gone = asked_by_another_account(&format!("peopled {} || echo nobody", own.id()))?;
        assert_eq!(gone, "nobody\n");
        Ok(())
    }
}
