# Follows a command that runs, from its first line on.
main() {
  place
  [ -d "$folder" ] || refuse "the folder $folder is gone"
  follow
  exit 0
}
