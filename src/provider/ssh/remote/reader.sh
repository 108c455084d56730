# Runs the command once it is told to, in a session and process group of its own, and ends with the connection.
nonce=$1
shift
boot
began $$
since=$(date +%s)
machine
say ready "$$" "$began" "$boot" "$machine"
told_to_go "$since" || exit 125
# Nothing more is said to it: what is heard next is the end of the connection.
{
  while IFS= read -r word; do :; done
  kill -KILL "-$$"
} <&3 3<&- 4>&- >/dev/null 2>&1 &
watcher=$!
# What the shell says of a command that was killed is not the command's.
exec 3<&- 4>&- 5>&2 2>/dev/null
env -i "PATH=$PATH" "HOME=$HOME" ${LANG+"LANG=$LANG"} ${TZ+"TZ=$TZ"} "$@" 2>&5 5>&- &
wait $!
code=$?
kill "$watcher"
exit "$code"
