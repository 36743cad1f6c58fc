#!/usr/bin/env bash
# The synthetic volumes and the teacher of experiments/studies/abus.yaml. Usage: experiments/abus.sh STEP, where STEP is
#   data       200 synthetic volumes in runs/abus_data: 0.3 x 0.25 x 0.45 mm, one lesion of 0.5 to 6 ml each
#   teacher    train the teacher on four fifths of them, at 1 mm, and score it on the others
set -euo pipefail
cd "$(dirname "$0")/.."
step=${1:?data or teacher} bundle=$PWD/bundles/abus_teacher_segmentation out=$PWD/runs
data=(--dataset_dir "$out/abus_data" --spacing "[1.0,1.0,1.0]" --patch_size "[32,32,32]")
training=(--epochs 10 --val_interval 5 --autocast "$(python -m dckd_ext.utils.processor)" --resume true) scoring=(--split 0)
source demo/functions.sh

case $step in
data)
    dckd phantom --count 200 --out runs/abus_data --layout msd --seed 1 --lesion_ml 0.5,6
    ;;
teacher)
    train abus_teacher "$bundle"
    evaluate abus_teacher "$bundle"
    ;;
*) echo "unknown step $step: expected data or teacher" >&2 && exit 2 ;;
esac
