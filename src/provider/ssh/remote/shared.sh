# What every program that runs on the other host begins with. POSIX sh; nonce names what it says among other output.
PATH=${PATH:-/usr/local/bin:/usr/bin:/bin}
unset CDPATH

# Words of its own, wherever the output before them ended.
say() {
  printf '\036pointsman %s %s\n' "$nonce" "$*"
}

# When a process began, in $began: a process id is given out again. Fails for one that has ended.
began() {
  began=-
  if [ -d /proc/self ]; then
    { read_stat "$1"; } 2>/dev/null || return 1
  else
    # Not by a signal: who runs as somebody else takes none of ours.
    began=$(LC_ALL=C ps -o lstart= -p "$1" 2>/dev/null | tr -s ' ' '_')
    [ -n "$began" ]
  fi
}

read_stat() {
  IFS= read -r stat <"/proc/$1/stat" || return 1
  # The second field is a name in brackets that may hold anything.
  stat=${stat##*") "}
  set -- $stat
  case $1 in Z | X | x) return 1 ;; esac
  pgrp=$3
  began=${20}
}

boot() {
  boot=-
  [ ! -r /proc/sys/kernel/random/boot_id ] || IFS= read -r boot </proc/sys/kernel/random/boot_id
}

# Which machine this is, in $machine: a name may lead to another one tomorrow. Its id is not for others to see
# (machine-id(5)): what goes into a record is made of it.
machine() {
  machine=-
  [ -r /etc/machine-id ] || return 0
  machine=$({ printf 'pointsman ' && cat /etc/machine-id; } | sha256sum 2>/dev/null | cut -c1-16)
  [ -n "$machine" ] || machine=-
}

# Whether a process with this id, beginning and boot lives.
lives() {
  boot
  [ "$3" = "$boot" ] && began "$1" && [ "$began" = "$2" ]
}

# Whether the process that a file names lives.
noted_lives() {
  [ -r "$1" ] && read -r noted_pid noted_began noted_boot noted_rest <"$1" &&
    lives "$noted_pid" "$noted_began" "$noted_boot"
}

# Whether a process group has a member that has not ended.
peopled() {
  hidden=
  # The one form that dash, bash and busybox all take for a group. Only "no such process" says that it is empty: of members
  # that run as somebody else (sudo, doas, su) it is told that they may not be signalled.
  why=$(
    LC_ALL=C
    export LC_ALL
    kill -0 "-$1" 2>&1
  ) || case $why in
  *[Nn]"o such process"*) return 1 ;;
  *) hidden=1 ;;
  esac
  [ -d /proc/self ] || return 0
  for process in /proc/[0-9]*; do
    { read_stat "${process#/proc/}"; } 2>/dev/null && [ "$pgrp" = "$1" ] && return 0
  done
  # Where /proc hides what runs as somebody else (hidepid), that nobody is seen proves nothing.
  [ -n "$hidden" ] || [ ! -r /proc/1/stat ]
}

# Whether the group of a leader that began then still has somebody. While it has, its number is not given out again.
group_lives() {
  boot
  [ "$3" = "$boot" ] || return 1
  ! began "$1" || [ "$began" = "$2" ] || return 1
  peopled "$1"
}

# Writes a file that is there wholly or not at all.
note() {
  printf '%s\n' "$2" >"$1.new" && mv "$1.new" "$1"
}

# Removes the notes of attempts that ended more than two weeks ago: no night is gone on with so late, and what is not
# noted any more is never taken for not begun where it was acknowledged. $1: where attempts are noted.
tidy() {
  command -v find >/dev/null 2>&1 || return 0
  find "$1" -name status -type f -mtime +14 2>/dev/null | while IFS= read -r ended; do
    old=${ended%/status}
    # Only what is made by begin.sh: a folder directly in there, with a name of ours.
    case ${old#"$1"/} in
    */*) ;;
    pm-*) rm -rf -- "$old" ;;
    esac
  done
}

rest() {
  sleep 0.1 2>/dev/null || sleep 1
}

refuse() {
  say refused "$*"
  exit 0
}

# Where attempts are noted.
place() {
  root=${XDG_STATE_HOME:-$HOME/.local/state}/pointsman
  folder=$root/$key
}

# Goes where the command is to run.
enter() {
  command -v setsid >/dev/null 2>&1 || refuse "it has no setsid"
  [ -z "$cwd" ] || cd -- "$cwd" 2>/dev/null || refuse "it has no folder $cwd that could be entered"
}

# The end of the conversation before anything is begun: only "go" begins it, and not later than a minute after it was
# offered, so that who finds it waiting later knows that it will not begin any more.
told_to_go() {
  word=
  IFS= read -r word <&3
  now=$(date +%s)
  [ "$word" = go ] && [ "$now" -ge "$1" ] && [ $((now - $1)) -le 60 ]
}

# Prints what came to a file since, without what comes meanwhile.
give() {
  given=$2
  [ -e "$1" ] || return 0
  size=$(wc -c <"$1")
  size=$((size))
  [ "$size" -gt "$2" ] || return 0
  tail -c "+$(($2 + 1))" "$1" | head -c "$((size - $2))"
  given=$size
}

# A unit of the system, or of the account.
unit_manager() {
  manager=
  [ "$(id -u)" = 0 ] || manager=--user
}

# What the manager says of a unit, in $unit_state: running, ended (and $unit_code), mute (ended, and nobody knows how), gone,
# foreign, and unasked where it did not answer, which says nothing of the unit.
unit_look() {
  load= active= sub= how= code= description=
  unit_state=unasked
  shown=$(systemctl $manager show -p LoadState,ActiveState,SubState,ExecMainCode,ExecMainStatus,Description "$1" \
    2>/dev/null) || return 0
  while IFS='=' read -r name value; do
    case $name in
    LoadState) load=$value ;;
    ActiveState) active=$value ;;
    SubState) sub=$value ;;
    ExecMainCode) how=$value ;;
    ExecMainStatus) code=$value ;;
    Description) description=$value ;;
    esac
  done <<END
$shown
END
  case $load in
  not-found)
    unit_state=gone
    return 0
    ;;
  loaded | masked) ;;
  *) return 0 ;;
  esac
  unit_state=foreign
  [ "$description" = "pointsman $key" ] || return 0
  unit_state=running
  # ExecMainCode is si_code of sigaction(2): exited, killed, dumped.
  case $active/$sub/$how in
  active/exited/1 | failed/*/1 | inactive/*/1) unit_state=ended unit_code=$code ;;
  active/exited/[23] | failed/*/[23] | inactive/*/[23]) unit_state=ended unit_code=$((128 + code)) ;;
  active/exited/* | failed/*) unit_state=mute ;;
  # Whether it is about to be started is not said.
  inactive/*) unit_state=unasked ;;
  esac
}
