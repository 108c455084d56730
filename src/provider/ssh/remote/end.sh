# Asks a process group to end, then kills it, and says how that went. Its leader, its beginning and its boot are given.
main() {
  place
  # What has ended was not asked. A full disk keeps nobody from ending it.
  [ ! -d "$folder" ] || [ -e "$folder/status" ] || (: >"$folder/asked") 2>/dev/null || :
  if [ -e "$folder/unit" ]; then
    read -r unit <"$folder/unit"
    unit_manager
    end_unit "$@"
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

# The same of a unit, whose keeper's group is given.
end_unit() {
  looks=0
  while [ "$looks" -lt 50 ]; do
    # Looked at first: while its keeper lives and has noted nothing, a unit that is not there may be under way.
    kept=
    ! group_lives "$@" || [ -e "$folder/status" ] || [ -e "$folder/refused" ] || kept=1
    unit_look "$unit"
    if [ "$unit_state" = running ]; then
      # Stopping sends TERM, and KILL after the unit's own five seconds.
      systemctl $manager stop "$unit" || :
      kept=
      unit_look "$unit"
      [ "$unit_state" != running ] || break
    fi
    case $unit_state in
    ended) kept= ;;
    unasked) kept=1 ;;
    esac
    if [ -z "$kept" ]; then
      say gone unit
      return
    fi
    looks=$((looks + 1))
    rest
  done
  say still
}
