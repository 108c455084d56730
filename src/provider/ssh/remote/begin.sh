# Begins a command under a keeper that outlives the connection, and follows it.
main() {
  exec 3<&0 4>&1
  enter
  place
  mask=$(umask)
  umask 077
  mkdir -p "$root" 2>/dev/null || refuse "it cannot make the folder $root"
  # Whoever makes the folder begins the command: nobody does twice.
  if ! mkdir "$folder" 2>/dev/null; then
    [ -d "$folder" ] || refuse "it cannot make the folder $folder"
    say exists
    exit 0
  fi
  setsid /bin/sh -c "$keeper" keeper "$child" "$folder" "$nonce" "$mask" "$@" >/dev/null 2>&1 </dev/null &
  keeping=$!
  exec 3<&- 4>&-
  follow
  exit 0
}
