# Asks a process group to end, then kills it, and says how that went. Its leader, its beginning and its boot are given.
main() {
  place
  if [ -d "$folder" ]; then
    : >"$folder/asked"
  fi
  if [ -e "$folder/unit" ]; then
    read -r unit <"$folder/unit"
    unit_manager
    unit_look "$unit"
    # Stopping sends TERM, and KILL after the unit's own five seconds.
    [ "$unit_state" != running ] || systemctl $manager stop "$unit" || :
    unit_look "$unit"
    case $unit_state in
    running) say still ;;
    *) say gone unit ;;
    esac
    exit 0
  fi
  if ! group_lives "$@"; then
    say gone before
    exit 0
  fi
  for signal in TERM KILL; do
    kill "-$signal" "-$1" 2>/dev/null
    looks=0
    while [ "$looks" -lt 50 ]; do
      if ! group_lives "$@"; then
        say gone "$signal"
        exit 0
      fi
      looks=$((looks + 1))
      rest
    done
  done
  say still
  exit 0
}
