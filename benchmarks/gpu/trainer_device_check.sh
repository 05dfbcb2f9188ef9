#!/usr/bin/env bash
# Everything about the trainer that needs a GPU, in one go: the tests that are skipped elsewhere, then the step and the
# augmentation by path. Run from the repository's root on a machine with a GPU and the project installed:
#
#   benchmarks/gpu/trainer_device_check.sh [FOLDER]
#
# PYTHON names the interpreter (.venv/bin/python). Figures are written to FOLDER (build/gpu); a failure of one part is
# told, does not stop the others, and makes the exit status 1. About eight minutes, each part with a bound of its own.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
python=${PYTHON:-.venv/bin/python}
folder=${1:-build/gpu}
export PYTHONPATH=$PWD/src:$PWD/services/trainer:$PWD/services/render_worker:$PWD/services/caption_api
mkdir -p "$folder"
failed=0

part() { # name, seconds, command
  local name=$1 bound=$2
  shift 2
  echo "== $name"
  timeout "$bound" "$@" 2>&1 | tee "$folder/$name.log" || { echo "-- $name failed"; failed=1; }
}

"$python" -c 'import torch, sys; sys.exit(not torch.cuda.is_available())' || { echo "torch sees no GPU here"; exit 1; }
nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv | tee "$folder/machine.csv"

part tests 180 "$python" -m pytest tests/trainer/test_device.py tests/trainer/test_session.py \
  tests/trainer/data/test_augment_device.py -k gpu -q -p no:cacheprovider
step=("$python" benchmarks/bench_step.py --device cuda --shape vit-b)
part step-whole 120 "${step[@]}" --captions 16 --json "$folder/step-whole.json"
part step-cut 120 "${step[@]}" --captions 64 --micro 16 --json "$folder/step-cut.json"
part augment 90 "$python" benchmarks/bench_augment.py
exit $failed
