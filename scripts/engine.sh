# Sourced by the other scripts: start_engine [--engine NAME]… puts a Docker engine into the environment, the machine's
# own where it can do the work, else the sandbox (tests/sandbox); what was not up before is stopped when the script ends.

start_engine() {
  sandbox=$PWD/tests/sandbox
  python3 "$sandbox" status > /dev/null 2>&1 || trap 'python3 "$sandbox" down >&2' EXIT
  engine=$(python3 "$sandbox" use "$@") || return
  eval "$engine"
}
