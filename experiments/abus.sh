#!/usr/bin/env bash
# The synthetic volumes and the teacher of experiments/studies/abus.yaml. Usage: experiments/abus.sh STEP, where STEP is
#   data       200 synthetic volumes in runs/abus_data: 0.3 x 0.25 x 0.45 mm, one lesion of 0.5 to 6 ml each
#   teacher    train the teacher on four fifths of them, at 1 mm, and score it on the others
#   archive    both, 200 further volumes of other seeds in runs/abus_archive_data, then studies/abus_archive.yaml
set -euo pipefail
cd "$(dirname "$0")/.."
step=${1:?data, teacher or archive} bundle=$PWD/bundles/abus_teacher_segmentation out=$PWD/runs
data=(--dataset_dir "$out/abus_data" --spacing "[1.0,1.0,1.0]" --patch_size "[32,32,32]")
training=(--epochs 10 --val_interval 5 --autocast "$(python -m dckd_ext.utils.processor)" --resume true) scoring=(--split 0)
source demo/functions.sh

phantoms() { dckd phantom --count 200 --out "$1" --layout msd --seed "$2" --lesion_ml 0.5,6; }

case $step in
data)
    phantoms runs/abus_data 1
    ;;
teacher)
    train abus_teacher "$bundle"
    evaluate abus_teacher "$bundle"
    ;;
archive)
    [ -f runs/abus_data/dataset.json ] || phantoms runs/abus_data 1
    [ -f runs/abus_archive_data/dataset.json ] || phantoms runs/abus_archive_data 1000
    [ -f runs/abus_teacher/model.pt ] || { train abus_teacher "$bundle" && evaluate abus_teacher "$bundle"; }
    OMP_NUM_THREADS=1 dckd study experiments/studies/abus_archive.yaml --dataset_dir runs/abus_data --out runs/abus_archive --jobs 2
    ;;
*) echo "unknown step $step: expected data, teacher or archive" >&2 && exit 2 ;;
esac
