# Keeps a command: waits for its end, whatever becomes of the connection, and notes how it ended.
child=$1
folder=$2
shift
boot
began $$
note "$folder/keeper" "$$ $began $boot" || exit 1
setsid /bin/sh -c "$child" child "$@" &
exec 3<&- 4>&-
wait $!
code=$?
if [ -e "$folder/begun" ]; then
  note "$folder/status" "$code $(date -u +%Y-%m-%dT%H:%M:%SZ)"
  tidy "${folder%/*}"
else
  rm -rf -- "$folder"
fi
