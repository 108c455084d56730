//! `unit:` against a pair of scripts that stand for `systemd-run` and `systemctl` on the host's path. What the real pair
//! makes of these words is not shown here.

use std::fs;

use pointsman::provider::action::ActionErrorKind::{InDoubt, Permanent};
use serde_json::json;

use crate::bench::{Bench, KEY, done, failed, running, unknown};
use crate::server::{Host, kill};

const RUN: &str = r#"#!/bin/sh
# systemd-run: starts the words after -- as a unit that is a folder, and comes back at once.
printf '%s\n' "$*" >>"$UNITS/asked"
set_env= out= err= folder=/
while [ "$1" != -- ]; do
  case $1 in
  --unit=*) unit=${1#--unit=} ;;
  --description=*) description=${1#--description=} ;;
  --working-directory=*) folder=${1#--working-directory=} ;;
  --setenv=*) set_env="$set_env ${1#--setenv=}" ;;
  -p) shift; case $1 in
    StandardOutput=append:*) out=${1#StandardOutput=append:} ;;
    StandardError=append:*) err=${1#StandardError=append:} ;;
    TimeoutStopSec=*) ;;
    *) echo "unknown property $1" >&2; exit 1 ;;
    esac ;;
  --remain-after-exit | --quiet | --no-ask-password | --user) ;;
  *) echo "unknown option $1" >&2; exit 1 ;;
  esac
  shift
done
shift
[ ! -e "$UNITS/slow" ] || : >"$UNITS/late"
while [ -e "$UNITS/slow" ]; do sleep 0.05; done
mkdir "$UNITS/$unit" 2>/dev/null || { echo "Unit $unit.service was already loaded." >&2; exit 1; }
printf '%s' "$description" >"$UNITS/$unit/description"
cd "$folder" || exit 1
setsid sh -c '
  unit=$1 set_env=$2 out=$3 err=$4; shift 4
  setsid env -i PATH="$PATH" $set_env "$@" >>"$out" 2>>"$err" </dev/null &
  echo $! >"$unit/main"
  wait $!
  echo $? >"$unit/code.new" && mv "$unit/code.new" "$unit/code"
' manager "$UNITS/$unit" "$set_env" "$out" "$err" "$@" >/dev/null 2>&1 </dev/null 3<&- 4>&- &
while [ ! -e "$UNITS/$unit/main" ]; do sleep 0.05; done
"#;

const CTL: &str = r#"#!/bin/sh
# systemctl show, stop and reset-failed of such units.
[ "$1" != --user ] || shift
verb=$1
for unit; do :; done
here=$UNITS/$unit
if [ -e "$UNITS/mute" ]; then
  echo "$verb" >>"$UNITS/unheard"
  exit 1
fi
case $verb in
show)
  if [ ! -d "$here" ]; then
    printf 'LoadState=not-found\nActiveState=inactive\nSubState=dead\nExecMainCode=0\nExecMainStatus=0\nDescription=%s\n' "$unit"
    exit
  fi
  echo LoadState=loaded
  echo "Description=$(cat "$here/description")"
  if [ ! -e "$here/code" ]; then
    printf 'ActiveState=active\nSubState=running\nExecMainCode=0\nExecMainStatus=0\n'
    exit
  fi
  code=$(cat "$here/code")
  case $code in
  0) printf 'ActiveState=active\nSubState=exited\nExecMainCode=1\nExecMainStatus=0\n' ;;
  1[3-9]?) printf 'ActiveState=failed\nSubState=failed\nExecMainCode=2\nExecMainStatus=%s\n' $((code - 128)) ;;
  *) printf 'ActiveState=failed\nSubState=failed\nExecMainCode=1\nExecMainStatus=%s\n' "$code" ;;
  esac
  ;;
stop)
  while [ -e "$UNITS/held" ]; do sleep 0.05; done
  [ -e "$here/code" ] || kill -s TERM -- "-$(cat "$here/main")"
  while [ -d "$here" ] && [ ! -e "$here/code" ]; do sleep 0.05; done
  rm -rf "$here"
  ;;
reset-failed) ;;
*) exit 1 ;;
esac
"#;

fn bench() -> Bench {
    let host = Host::new();
    host.install("systemd-run", RUN);
    host.install("systemctl", CTL);
    Bench::of(host)
}

fn with(script: &str) -> serde_json::Value {
    json!({ "argv": ["sh", "-c", script], "unit": "move-1", "env": { "GIVEN": "yes" }, "cwd": "/tmp" })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_is_begun_followed_and_its_name_is_free_again() {
    let bench = bench();
    let outcome = bench.run(with("pwd; echo $GIVEN; echo complaint >&2")).await.unwrap();
    assert_eq!(outcome.result["stdout"], "/tmp\nyes\n");
    assert_eq!(outcome.result["stderr"], "complaint\n");
    let asked = fs::read_to_string(bench.host.path("units").join("asked")).unwrap();
    assert!(
        asked.contains(&format!(
            "--unit=move-1 --description=pointsman {KEY} --remain-after-exit"
        )),
        "{asked}"
    );
    assert!(asked.contains("--setenv=GIVEN=yes -- sh -c pwd;"), "{asked}");
    done(bench.observe().await);
    bench.wait("the name", || !bench.host.path("units").join("move-1").exists());
    let mut again = bench.cx();
    again.key = "pm-again".to_owned();
    let words = failed(
        bench.action(with("echo no >&2; exit 7")).execute(&again).await,
        Permanent,
    );
    assert!(words.contains("ended with 7") && words.ends_with("no"), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_taken_is_not_begun() {
    let bench = bench();
    let taken = bench.host.path("units").join("move-1");
    fs::create_dir(&taken).unwrap();
    fs::write(taken.join("description"), "somebody else's").unwrap();
    let mark = bench.host.path("mark");
    let words = failed(bench.run(with(&format!("touch {}", mark.display()))).await, Permanent);
    assert!(
        words.contains("already loaded") && words.contains("was not begun"),
        "{words}"
    );
    assert!(!mark.exists());
    crate::bench::not_started(bench.observe().await);
    // Neither is anything begun where there is no systemd.
    let bare = Bench::new();
    bare.host.install("systemd-run", "#!/bin/sh\nexit 1\n");
    bare.host.install("systemctl", "#!/bin/sh\necho 'no bus' >&2\nexit 1\n");
    let words = failed(bare.run(with("true")).await, Permanent);
    assert!(
        words.contains("no bus") && words.contains("nothing was begun"),
        "{words}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_is_found_again_by_the_manager_though_nobody_kept_it() {
    let bench = bench();
    let pipe = bench.pipe();
    let script = format!("echo begun; read word < {}; echo \"$word on\"; exit 4", pipe.display());
    let running_one = bench.begin(bench.action(with(&script)), bench.cx());
    bench.wait("its first word", || {
        bench.heard.lines.lock().unwrap().iter().any(|line| line == "begun")
    });
    kill(bench.group(), rustix::process::Signal::KILL);
    failed(running_one.await.unwrap(), InDoubt);
    let detail = running(bench.observe().await);
    assert!(detail.contains("still runs as its unit"), "{detail}");
    bench.let_go();
    let mut expected = with("true");
    expected["expect"] = json!("code == 4");
    let outcome = bench.action(expected).adopt(&bench.cx()).await.unwrap();
    assert_eq!(outcome.result["stdout"], "begun\ngo on\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_stops_the_unit() {
    let bench = bench();
    let running_one = bench.begin(bench.action(with("echo begun; sleep 600 & wait")), bench.cx());
    bench.wait("its first word", || {
        bench.heard.lines.lock().unwrap().iter().any(|line| line == "begun")
    });
    bench.cancel.cancel();
    let words = failed(running_one.await.unwrap(), InDoubt);
    assert!(
        words.contains("was ended on request") && !words.contains("NOT CONFIRMED"),
        "{words}"
    );
    let seen = unknown(bench.observe().await);
    assert!(seen.contains("asked to end"), "{seen}");
    assert!(!bench.host.path("units").join("move-1").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manager_that_does_not_answer_says_nothing_of_the_unit() {
    let bench = bench();
    let units = bench.host.path("units");
    let pipe = bench.pipe();
    let script = format!("echo begun; read word < {}; echo \"$word on\"", pipe.display());
    let running_one = bench.begin(bench.action(with(&script)), bench.cx());
    bench.wait("its first word", || {
        bench.heard.lines.lock().unwrap().iter().any(|line| line == "begun")
    });
    fs::write(units.join("mute"), "").unwrap();
    bench.wait("its keeper's question", || units.join("unheard").exists());
    let seen = unknown(bench.observe().await);
    assert!(seen.contains("systemd does not say"), "{seen}");
    fs::remove_file(units.join("mute")).unwrap();
    running(bench.observe().await);
    bench.let_go();
    let outcome = running_one.await.unwrap().unwrap();
    assert_eq!(outcome.result["stdout"], "begun\ngo on\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_the_manager_does_not_confirm_is_said_to_be_none() {
    let bench = bench();
    let running_one = bench.begin(bench.action(with("echo begun; sleep 600")), bench.cx());
    bench.wait("its first word", || {
        bench.heard.lines.lock().unwrap().iter().any(|line| line == "begun")
    });
    let mute = bench.host.path("units").join("mute");
    fs::write(&mute, "").unwrap();
    bench.cancel.cancel();
    let words = failed(running_one.await.unwrap(), InDoubt);
    assert!(words.contains("ITS END IS NOT CONFIRMED"), "{words}");
    fs::remove_file(mute).unwrap();
    // Its keeper was asked too, and ends it as soon as it can.
    bench.wait("its end", || !bench.host.path("units").join("move-1").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_that_is_made_after_it_was_asked_to_end_is_stopped() {
    let bench = bench();
    let units = bench.host.path("units");
    fs::write(units.join("slow"), "").unwrap();
    let running_one = bench.begin(bench.action(with("sleep 600")), bench.cx());
    bench.wait("the call of systemd-run", || units.join("late").exists());
    bench.cancel.cancel();
    bench.wait("the wish", || bench.host.notes(KEY).join("asked").exists());
    fs::remove_file(units.join("slow")).unwrap();
    let words = failed(running_one.await.unwrap(), InDoubt);
    assert!(
        words.contains("was ended on request") && !words.contains("NOT CONFIRMED"),
        "{words}"
    );
    assert!(!units.join("move-1").exists());
    unknown(bench.observe().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_keeper_of_a_unit_is_nothing_that_the_unit_left() {
    let bench = bench();
    let held = bench.host.path("units").join("held");
    fs::write(&held, "").unwrap();
    let running_one = bench.begin(bench.action(with("echo done")), bench.cx());
    bench.wait("its end", || bench.host.notes(KEY).join("status").exists());
    let seen = done(bench.observe().await);
    assert!(!seen.summary.contains("still runs"), "{}", seen.summary);
    fs::remove_file(held).unwrap();
    running_one.await.unwrap().unwrap();
}
