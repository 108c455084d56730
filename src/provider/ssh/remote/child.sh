# Becomes the command once it is told to, in a session and process group of its own.
folder=$1
nonce=$2
mask=$3
shift 3
boot
began $$
since=$(date +%s)
note "$folder/group" "$$ $began $boot $since" || exit 125
exec >"$folder/out" 2>"$folder/err" </dev/null
machine
say ready "$$" "$began" "$boot" "$machine" >&4
told_to_go "$since" || exit 125
exec 3<&- 4>&-
: >"$folder/begun" || exit 125
umask "$mask"
exec env -i "PATH=$PATH" "HOME=$HOME" ${LANG+"LANG=$LANG"} ${TZ+"TZ=$TZ"} "$@"
