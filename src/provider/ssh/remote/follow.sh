# Streams what a command writes until it has ended, and says how it did.
follow() {
  out=0
  err=0
  while :; do
    over=
    # Looked at first: a keeper that has gone may have noted the end just before.
    [ ! -e "$folder/keeper" ] || noted_lives "$folder/keeper" || over=lost
    [ -d "$folder" ] || over=unbegun
    [ ! -e "$folder/refused" ] || over=refused
    [ ! -e "$folder/status" ] || over=ended
    give "$folder/out" "$out"
    out=$given
    give "$folder/err" "$err" >&2
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
    rest
  done
}

# Whether something that it started still runs.
left_over() {
  read -r pid start noted rest_of_it <"$folder/group"
  ! group_lives "$pid" "$start" "$noted" || left=1
}
