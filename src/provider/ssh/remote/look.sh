# Says what is known of an attempt; changes nothing.
main() {
  place
  now=$(date +%s)
  up=-
  [ ! -r /proc/uptime ] || read -r up rest_of_it </proc/uptime
  if [ ! -d "$folder" ]; then
    # That nothing is noted proves nothing where notes cannot be seen.
    [ -d "${XDG_STATE_HOME:-$HOME}" ] || refuse "the folder ${XDG_STATE_HOME:-$HOME} is not there"
    [ ! -e "$root" ] || [ -x "$root" ] || refuse "the folder $root cannot be entered"
    boot
    machine
    say seen folder=0 "up=$up" "boot=$boot" "machine=$machine"
    say drained
    exit 0
  fi
  keeper=0 leader=0 group=0 begun=0 asked=0 refused=0 pid=- since=- status=- at=- same_boot=- unit=- unit_state=-
  # Looked at first: a keeper that has gone may have noted the end just before.
  ! noted_lives "$folder/keeper" || keeper=1
  if [ -e "$folder/group" ]; then
    read -r pid start noted since <"$folder/group"
    ! lives "$pid" "$start" "$noted" || leader=1
    ! group_lives "$pid" "$start" "$noted" || group=1
    case $boot in
    -) ;;
    "$noted") same_boot=1 ;;
    *) same_boot=0 ;;
    esac
  fi
  [ ! -e "$folder/begun" ] || begun=1
  [ ! -e "$folder/asked" ] || asked=1
  [ ! -e "$folder/refused" ] || refused=1
  [ ! -e "$folder/status" ] || read -r status at <"$folder/status"
  if [ -e "$folder/unit" ]; then
    read -r unit <"$folder/unit"
    # The group that was noted is its keeper's.
    group=0
    if [ "$status" = - ] && [ "$begun" = 1 ]; then
      unit_manager
      unit_look "$unit"
      [ "$unit_state" != ended ] || status=$unit_code
    fi
  fi
  say seen folder=1 "keeper=$keeper" "leader=$leader" "group=$group" "begun=$begun" "asked=$asked" \
    "refused=$refused" "pid=$pid" "since=$since" "now=$now" "up=$up" "status=$status" "at=$at" \
    "same_boot=$same_boot" "unit=$unit_state"
  if [ "$status" != - ]; then
    give "$folder/out" 0
    give "$folder/err" 0 >&2
  fi
  say drained
  exit 0
}
