//! The arguments of every verb. Owns their names, defaults and help; must not act on them.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::lab::Fault;

/// Conducts a migration's cutover day: gated steps, paired rollbacks, an audit log that a stranger can verify.
#[derive(Debug, Parser)]
#[command(
    name = "pointsman",
    version,
    max_term_width = 100,
    after_help = "Examples:
  pointsman check runbooks/quickstart.yaml
  pointsman plan runbooks/quickstart.yaml --env lab
  pointsman run runbooks/quickstart.yaml --env lab
  pointsman verify 20261205-2200-7k2m --require chain

Exit codes: 0 done · 1 failed · 2 usage or bad input, nothing executed · 3 stopped by a person ·
4 rolled back · 5 rollback incomplete, hands needed · 6 in doubt · 7 the journal could not be written.
`verify` has its own: see `pointsman verify --help`."
)]
pub struct Cli {
    #[command(subcommand)]
    pub verb: Verb,
    /// Folder that holds the runs [default: $XDG_STATE_HOME/pointsman]
    #[arg(long, global = true, value_name = "DIR", env = "POINTSMAN_STATE_DIR")]
    pub state_dir: Option<PathBuf>,
    /// When to use colour
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: ColorChoice,
}

/// When to use colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    Auto,
    Always,
    Never,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Find every fault of a runbook at once, each with its place
    Check(CheckArgs),
    /// Show what would happen: commands, gates, rollbacks, digests
    Plan(PlanArgs),
    /// Will we make the window? From what earlier runs took
    Forecast(ForecastArgs),
    /// Look at every connection and at what the steps need of it; changes nothing
    Preflight(PreflightArgs),
    /// Prove two databases equal, row by row, or name the rows that differ; changes nothing
    Compare(CompareArgs),
    /// Print the JSON Schema of the runbook format
    Schema,
    /// Conduct a runbook in the cockpit, or headless
    Run(RunArgs),
    /// Go on with a run after a crash, a lost session or a deliberate exit
    Resume(ResumeArgs),
    /// List the runs, newest first
    Runs(RunsArgs),
    /// Verify a run's journal: integrity, completeness, approvals
    Verify(VerifyArgs),
    /// Tell a run from its journal
    Report(ReportArgs),
    /// Serve the embedded lab alone until stopped
    Lab(LabArgs),
}

/// `check`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pointsman check runbook.yaml
  pointsman check runbook.yaml --env production
  cat runbook.yaml | pointsman check -

Exit codes: 0 no error · 2 errors, printed as file:line:col")]
pub struct CheckArgs {
    /// The runbook, or - for standard input
    pub runbook: PathBuf,
    /// Only this environment [default: all]
    #[arg(long)]
    pub env: Option<String>,
    /// How faults are printed
    #[arg(long, value_enum, default_value = "text")]
    pub format: TextOrJson,
}

/// `preflight`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pointsman preflight runbook.yaml --env staging
  pointsman preflight runbook.yaml --env lab --format json | jq '.findings[] | select(.verdict == \"red\")'

Exit codes: 0 nothing is red · 1 something is · 2 bad input")]
pub struct PreflightArgs {
    /// The runbook, or - for standard input
    pub runbook: PathBuf,
    /// The environment to look at
    #[arg(long)]
    pub env: String,
    /// How the findings are printed
    #[arg(long, value_enum, default_value = "text")]
    pub format: TextOrJson,
    /// The lab that another process serves from this folder
    #[arg(long, value_name = "DIR")]
    pub lab: Option<PathBuf>,
    /// The earlier run that the runbook imports under this name; may be given several times
    #[arg(long, value_name = "NAME=RUN")]
    pub import: Vec<Import>,
}

/// `compare`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pointsman compare 'mysql://ana@db01/erp?ca=ca.pem' 'postgres://ana@db02/erp?ca=ca.pem' --table orders --table customers=clients
  pointsman compare sqlite:old.db sqlite:new.db --table '*' --exclude 'tmp_*' --format json
  pointsman compare mysql://ana@127.0.0.1/erp?tls=off mysql://ana@127.0.0.1:3307/erp?tls=off --table '*' --ledger night.jsonl
  pointsman compare sqlite:old.db sqlite:new.db --table '*' --while source 'value < 5' 'select seconds from delay'

Passwords are taken from POINTSMAN_SOURCE_PASSWORD and POINTSMAN_TARGET_PASSWORD; in an address everybody on the machine reads
them. Settings of an address: tls=verify|unverified|off, ca=FILE, timeout=30m (of a statement).

Exit codes: 0 equal · 1 different · 2 bad input · 3 interrupted · 6 unproven: not everything could be compared")]
pub struct CompareArgs {
    /// The source: mysql://, postgres://, sqlserver:// USER@HOST[:PORT]/DATABASE, or sqlite:FILE
    pub source: String,
    /// The target
    pub target: String,
    /// A table, or A=B where the target's is called otherwise, or a pattern with *; may be given several times
    #[arg(long, required = true, value_name = "A[=B]")]
    pub table: Vec<String>,
    /// Tables that a pattern does not mean; may be given several times
    #[arg(long, value_name = "PATTERN")]
    pub exclude: Vec<String>,
    /// How deep: numbers of rows, checksums of ranges, or rows by name
    #[arg(long, default_value = "rows", value_parser = ["count", "checksum", "rows"])]
    pub level: String,
    /// The columns that tell rows apart, instead of the primary key: a,b
    #[arg(long, value_delimiter = ',', value_name = "COLUMNS")]
    pub key: Vec<String>,
    /// Compare only these columns
    #[arg(long, value_delimiter = ',', value_name = "COLUMNS")]
    pub columns: Vec<String>,
    /// Compare all columns but these
    #[arg(long, value_delimiter = ',', value_name = "COLUMNS")]
    pub ignore: Vec<String>,
    /// Compare only rows for which this SQL holds on both sides
    #[arg(long = "where", value_name = "SQL")]
    pub filter: Option<String>,
    /// Show the values that differ, not only which columns: they may be personal data
    #[arg(long)]
    pub show_values: bool,
    /// Sessions that each server has at a time
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=64), value_name = "N")]
    pub sessions: u8,
    /// Ask for nothing while this does not hold, looked at every few seconds: a side, a predicate, a query
    #[arg(long = "while", num_args = 3, value_names = ["SIDE", "EXPECT", "SQL"])]
    pub conditions: Vec<String>,
    /// How long that may be, in all, before the comparison is unproven
    #[arg(long, default_value = "30m", value_name = "DURATION")]
    pub pause_at_most: String,
    /// Who hashes rows: whoever is faster with the first ones, the servers (little travels), or this program (they only read)
    #[arg(long, default_value = "faster", value_parser = ["faster", "servers", "here"])]
    pub hashing: String,
    /// Keep compared ranges in this file, and do not compare again what stands in it and has not changed
    #[arg(long, value_name = "FILE")]
    pub ledger: Option<PathBuf>,
    /// How the result is printed
    #[arg(long, value_enum, default_value = "text")]
    pub format: TextOrJson,
}

/// `plan`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pointsman plan runbook.yaml --env lab
  pointsman plan runbook.yaml --env lab --format json | jq .digests")]
pub struct PlanArgs {
    /// The runbook, or - for standard input
    pub runbook: PathBuf,
    /// The environment to plan for
    #[arg(long)]
    pub env: String,
    /// How the plan is printed
    #[arg(long, value_enum, default_value = "text")]
    pub format: TextOrJson,
    /// The earlier run that the runbook imports under this name; may be given several times
    #[arg(long, value_name = "NAME=RUN")]
    pub import: Vec<Import>,
}

/// An earlier run for one of a runbook's imports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    pub name: String,
    /// The run's id or folder.
    pub run: PathBuf,
}

impl std::str::FromStr for Import {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((name, run)) if !name.is_empty() && !run.is_empty() => Ok(Self {
                name: name.to_owned(),
                run: run.into(),
            }),
            Some(_) | None => Err("write NAME=RUN, with the runbook's name of the import and a run's id".to_owned()),
        }
    }
}

/// `forecast`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pointsman forecast runbook.yaml --env production
  pointsman forecast runbook.yaml --env staging --start 2026-12-05T22:30:00-03:00
  pointsman forecast runbook.yaml --env production --format json | jq .p90

Exit codes: 0 p90 makes the window, the downtime budget and every deadline, or nothing is known (then it says so) ·
1 it does not · 2 usage or bad input")]
pub struct ForecastArgs {
    /// The runbook, or - for standard input
    pub runbook: PathBuf,
    /// The environment to forecast for
    #[arg(long)]
    pub env: String,
    /// When the night begins, RFC 3339 [default: the window's opening while it is to come, else now]
    #[arg(long, value_name = "INSTANT", value_parser = instant)]
    pub start: Option<DateTime<Utc>>,
    /// How the forecast is printed
    #[arg(long, value_enum, default_value = "text")]
    pub format: TextOrJson,
}

/// For people or for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TextOrJson {
    Text,
    Json,
}

/// How a run is watched and driven; shared by `run` and `resume`.
#[derive(Debug, Args)]
pub struct SeatArgs {
    /// Who operates: a person of the environment [default in the lab: the system's user]
    #[arg(long = "as", value_name = "PERSON")]
    pub operator: Option<String>,
    /// No cockpit: print what happens
    #[arg(long)]
    pub headless: bool,
    /// How a headless run is printed
    #[arg(long, value_enum, default_value = "lines", requires = "headless")]
    pub format: LinesOrJson,
    /// Approve every gate without a look (lab, or a rehearsal with auto_approve)
    #[arg(long, requires = "headless")]
    pub approve_all: bool,
    /// Rehearse the way back: roll back once, when this step is reached
    #[arg(long, value_name = "STEP", requires = "approve_all")]
    pub roll_back_at: Option<String>,
    /// With --roll-back-at: keep this step and go forward again from it
    #[arg(long, value_name = "STEP", requires = "roll_back_at")]
    pub roll_back_to: Option<String>,
}

/// Lines for people, or a JSON object a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LinesOrJson {
    Lines,
    Json,
}

/// `run`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pointsman run runbooks/quickstart.yaml --env lab
  pointsman run runbooks/quickstart.yaml --env lab --headless --approve-all --speed 20
  pointsman run runbook.yaml --env staging --as ana --dry-run --headless
  pointsman run runbooks/quickstart.yaml --env lab --headless --approve-all --roll-back-at flip")]
pub struct RunArgs {
    /// The runbook, or - for standard input (then only with --headless)
    pub runbook: PathBuf,
    /// The environment to run in
    #[arg(long)]
    pub env: String,
    #[command(flatten)]
    pub seat: SeatArgs,
    /// Execute reads, simulate mutations, ask nobody
    #[arg(long)]
    pub dry_run: bool,
    /// The earlier run that the runbook imports under this name; may be given several times
    #[arg(long, value_name = "NAME=RUN")]
    pub import: Vec<Import>,
    /// Use the lab that `pointsman lab --dir DIR` serves, at its speed
    #[arg(long, value_name = "DIR", conflicts_with_all = ["speed", "fault"])]
    pub lab: Option<PathBuf>,
    /// How much faster than nominal the lab's time runs [default: 10]
    #[arg(long, value_name = "N", value_parser = speed)]
    pub speed: Option<f64>,
    /// A fault that the lab makes; may be given several times
    #[arg(long, value_name = "NAME")]
    pub fault: Vec<Fault>,
}

/// `resume`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pointsman resume 20261205-2200-7k2m
  pointsman resume 20261205-2200-7k2m --headless --approve-all

Resuming only looks: what was sent is observed, never sent again; approvals are asked anew.")]
pub struct ResumeArgs {
    /// The run's id or folder
    pub run: PathBuf,
    #[command(flatten)]
    pub seat: SeatArgs,
    /// The run was conducted on another host, or in the folder that this one is a copy of, and nobody is at it there any
    /// more
    #[arg(long)]
    pub take_over: bool,
    /// Hold the run and ask to go on by this changed runbook, under its own gate
    #[arg(long, value_name = "RUNBOOK")]
    pub amend: Option<PathBuf>,
    /// Why the runbook was changed
    #[arg(long, value_name = "REASON", requires = "amend")]
    pub because: Option<String>,
}

/// `runs`.
#[derive(Debug, Args)]
pub struct RunsArgs {
    /// How the list is printed
    #[arg(long, value_enum, default_value = "text")]
    pub format: TextOrJson,
}

/// `verify`.
#[derive(Debug, Args)]
#[command(after_help = "Exit codes:
  0 intact and fully witnessed by outside keys; with --require chain: intact and closed
  1 intact, but not that · 2 usage, or a newer version · 3 torn tail, not sealed · 4 tampered
  6 an approval is invalid or missing · 7 unresolved effect · 8 I/O

Examples:
  pointsman verify 20261205-2200-7k2m --require chain
  pointsman verify ./copy-of-the-run --format json")]
pub struct VerifyArgs {
    /// The run's id or folder, or one journal file
    pub run: PathBuf,
    /// What is enough for exit 0
    #[arg(long, value_enum, default_value = "witness")]
    pub require: Requirement,
    /// Keys that are trusted (OpenSSH's allowed signers)
    #[arg(long, value_name = "FILE")]
    pub allowed_signers: Option<PathBuf>,
    /// How the verdict is printed
    #[arg(long, value_enum, default_value = "text")]
    pub format: TextOrJson,
}

/// What `verify` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Requirement {
    /// Witnessed by keys from outside
    Witness,
    /// An intact chain that is closed
    Chain,
}

/// `report`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pointsman report 20261205-2200-7k2m > report.md
  pointsman report 20261205-2200-7k2m --output report.md")]
pub struct ReportArgs {
    /// The run's id or folder
    pub run: PathBuf,
    /// The report's form
    #[arg(long, value_enum, default_value = "md")]
    pub format: ReportFormat,
    /// A file to write instead of standard output; it must not exist
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Forms of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    Md,
    Html,
    Json,
    Csv,
}

/// `lab`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pointsman lab --dir /tmp/lab --speed 20
  pointsman run runbooks/quickstart.yaml --env lab --lab /tmp/lab")]
pub struct LabArgs {
    /// The lab's folder; it keeps the lab's state [default: lab, in the state folder]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// How much faster than nominal its time runs
    #[arg(long, value_name = "N", default_value = "10", value_parser = speed)]
    pub speed: f64,
    /// A fault to make; may be given several times
    #[arg(long, value_name = "NAME")]
    pub fault: Vec<Fault>,
}

fn speed(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(speed) if (0.1..=1000.0).contains(&speed) => Ok(speed),
        Ok(_) | Err(_) => Err("a speed is a number from 0.1 to 1000".to_owned()),
    }
}

fn instant(text: &str) -> Result<DateTime<Utc>, String> {
    DateTime::parse_from_rfc3339(text)
        .map(|instant| instant.with_timezone(&Utc))
        .map_err(|_bad| "write RFC 3339 with an offset: 2026-12-05T22:00:00-03:00".to_owned())
}
