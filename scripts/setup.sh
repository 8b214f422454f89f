# Sourced by the other scripts: puts a virtual environment in .venv, with fategen and its test requirements, first in
# PATH. As root on a bare Debian or Ubuntu, it installs the missing package (python3-venv), and says so.

python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || {
  echo "error: Python 3.10 or later is needed; $python is $("$python" -V 2>&1)" >&2
  echo "  next: install one, then: PYTHON=python3.12 $0" >&2
  exit 2
}
# where .venv is in PATH already, the Python that it was made with: .venv itself is removed below
python=$("$python" -c 'import sys; print(getattr(sys, "_base_executable", sys.executable))')
wanted="$("$python" -V) $(cksum < pyproject.toml) $PWD"
if [ "$(cat .venv/.fategen-setup 2> /dev/null)" != "$wanted" ]; then
  echo "setup: a virtual environment in .venv" >&2
  rm -rf .venv
  "$python" -m venv .venv > /dev/null 2>&1 || {
    [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null || {
      echo "error: $python cannot make a virtual environment" >&2
      echo "  next: install the package python3-venv, then run the same command" >&2
      exit 3
    }
    echo "setup: apt-get install python3-venv" >&2
    rm -rf .venv
    apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends python3-venv > /dev/null
    "$python" -m venv .venv
  }
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
  echo "$wanted" > .venv/.fategen-setup
fi
PATH=$PWD/.venv/bin:$PATH
export PATH
# pip compiles what it installs; an editable installation is compiled by its first run, and else by every one
unset PYTHONDONTWRITEBYTECODE
