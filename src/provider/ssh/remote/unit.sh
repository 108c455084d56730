# Keeps a unit: has it started once it is told to, waits for its end and notes how it ended.
folder=$2
nonce=$3
unit=$5
key=$6
shift 6
boot
began $$
since=$(date +%s)
unit_manager
unit_look "$unit"
if [ "$unit_state" = unasked ]; then
  say refused "its systemd does not answer: $(systemctl $manager show "$unit" 2>&1 >/dev/null | tr '\n' ' ')" >&4
  rm -rf -- "$folder"
  exit
fi
note "$folder/unit" "$unit" || exit 1
note "$folder/keeper" "$$ $began $boot" || exit 1
note "$folder/group" "$$ $began $boot $since" || exit 1
machine
say ready "$$" "$began" "$boot" "$machine" >&4
if ! told_to_go "$since"; then
  rm -rf -- "$folder"
  exit
fi
exec 3<&- 4>&-
: >"$folder/begun" || exit 1
if [ -e "$folder/asked" ]; then
  note "$folder/refused" "it was asked to end before"
  exit
fi
# It remains after it has ended, so that it can be asked how it did.
why=$(systemd-run $manager --unit="$unit" --description="pointsman $key" --remain-after-exit --quiet \
  --no-ask-password --working-directory="$PWD" -p TimeoutStopSec=5 -p "StandardOutput=append:$folder/out" \
  -p "StandardError=append:$folder/err" "$@" 2>&1)
started=$?
while :; do
  unit_look "$unit"
  case $unit_state in
  # Who asked it to end may not have found it yet.
  running) [ ! -e "$folder/asked" ] || systemctl $manager stop "$unit" || : ;;
  ended)
    note "$folder/status" "$unit_code $(date -u +%Y-%m-%dT%H:%M:%SZ)" || exit
    # What is noted need not be asked for: the name is free again.
    systemctl $manager stop "$unit" || :
    systemctl $manager reset-failed "$unit" || :
    tidy "${folder%/*}"
    exit
    ;;
  gone | foreign)
    [ "$started" = 0 ] || note "$folder/refused" "systemd-run: $why"
    exit
    ;;
  mute) exit ;;
  unasked) ;;
  esac
  sleep 1
done
