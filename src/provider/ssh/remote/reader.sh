# Becomes the command once it is told to, in a session and process group of its own.
nonce=$1
shift
boot
began $$
since=$(date +%s)
say ready "$$" "$began" "$boot"
told_to_go "$since" || exit 125
exec env -i "PATH=$PATH" "HOME=$HOME" ${LANG+"LANG=$LANG"} ${TZ+"TZ=$TZ"} "$@"
