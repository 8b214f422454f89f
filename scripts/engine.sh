# Sourced by the other scripts: start_engine [--engine NAME]… puts a Docker engine into the environment. It uses the
# machine's own if that can do the work, otherwise the sandbox (tests/sandbox). A sandbox that it starts stops when the
# script ends.
# begin_engine starts it in the background; use_engine waits for it.

begin_engine() {
  sandbox=$PWD/tests/sandbox engine=$(mktemp)
  python3 "$sandbox" status > /dev/null 2>&1 || down=$sandbox
  python3 "$sandbox" use "$@" > "$engine" &
  use=$!
  trap end_engine EXIT
  trap 'exit 130' INT # dash runs no trap of EXIT for a signal
  trap 'exit 143' TERM
}

end_engine() {
  [ -z "$use" ] || { kill "$use" 2> /dev/null && wait "$use"; } || :
  rm -f "$engine"
  [ -z "${down-}" ] || python3 "$down" down >&2
}

use_engine() {
  begun=$use use=
  wait "$begun" || return
  . "$engine"
}

start_engine() {
  begin_engine "$@"
  use_engine
}
