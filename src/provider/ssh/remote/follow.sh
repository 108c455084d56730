# Streams what a command writes until it has ended, and says how it did. keeping: a keeper that may not have noted itself
# yet.
keeping=
follow() {
  out=0
  err=0
  idle=0
  while :; do
    over=
    # Looked at first: a keeper that has gone may have noted the end just before.
    [ ! -e "$folder/keeper" ] || noted_lives "$folder/keeper" || over=lost
    [ -e "$folder/keeper" ] || [ -z "$keeping" ] || kill -0 "$keeping" 2>/dev/null || over=lost
    [ -d "$folder" ] || over=unbegun
    [ ! -e "$folder/refused" ] || over=refused
    [ ! -e "$folder/status" ] || over=ended
    idle=$((idle + 1))
    give "$folder/out" "$out"
    [ "$given" = "$out" ] || idle=0
    out=$given
    give "$folder/err" "$err" >&2
    [ "$given" = "$err" ] || idle=0
    err=$given
    case $over in
    ended)
      read -r code at <"$folder/status"
      left=0
      [ ! -e "$folder/group" ] || [ -e "$folder/unit" ] || left_over
      say ended "$code" "$at" "$left"
      return
      ;;
    refused)
      say refused "$(tr '\n' ' ' <"$folder/refused")"
      return
      ;;
    lost | unbegun)
      say "$over"
      return
      ;;
    esac
    # Who has been silent for seconds is looked at once in a second.
    if [ "$idle" -lt 50 ]; then rest; else sleep 1; fi
  done
}

# Whether something that it started still runs.
left_over() {
  read -r pid start noted rest_of_it <"$folder/group"
  ! group_lives "$pid" "$start" "$noted" || left=1
}
