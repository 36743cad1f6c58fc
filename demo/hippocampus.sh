#!/usr/bin/env bash
# The whole story on a few volumes: a teacher, a plain and a distilled student, their scores, a report.
# Usage: demo/hippocampus.sh [FOLDER]   in the layout of the Medical Segmentation Decathlon; downloaded by default.
# These are short trainings: they show how everything works, not how good it gets (docs/results.md).
set -euo pipefail
cd "$(dirname "$0")/.."

cases=${CASES:-16}     # volumes to train on, and as many to evaluate on
epochs=${EPOCHS:-12}
out=$PWD/runs/demo
teacher=$PWD/bundles/hippocampus_teacher_segmentation
student=$PWD/bundles/hippocampus_unet_student_segmentation
distillation=$PWD/bundles/hippocampus_distillation
if [ $# -gt 0 ]; then
    data=(--dataset_dir "$(realpath "$1")")
else
    data=(--dataset_dir "$PWD/data/Task04_Hippocampus" --download true)
fi

# train RUN BUNDLE OPTION...: its weights go to runs/demo/RUN, not into the bundle
train() {
    echo "== training: $1"
    python -m monai.bundle run training --config_file "$2/configs/train.yaml" --bundle_root "$2" \
        "${data[@]}" --limit "$cases" --epochs "$epochs" --val_interval 4 --learning_rate 0.003 \
        --checkpoint "$out/$1/model.pt" --output_dir "$out/$1" "${@:3}"
}

# evaluate RUN BUNDLE: scores and masks of validation cases, with the weights of that run
evaluate() {
    echo "== evaluating: $1"
    python -m monai.bundle run evaluating \
        --config_file "['$2/configs/inference.yaml','$2/configs/evaluate.yaml']" --bundle_root "$2" \
        "${data[@]:0:2}" --limit "$cases" --save_masks true \
        --checkpoint "$out/$1/model.pt" --output_dir "$out/$1"
}

rm -rf "$out"
export PYTHONWARNINGS=ignore

train teacher "$teacher"
train plain "$student"
train distilled "$distillation" --teacher_weights "$out/teacher/model.pt" --min_teacher_dice 0.2

evaluate teacher "$teacher"
evaluate plain "$student"
evaluate distilled "$student"

dckd report "teacher=$out/teacher,$teacher" "plain=$out/plain,$student" "distilled=$out/distilled,$student" \
    --compare distilled-plain,distilled-teacher --dataset_dir "${data[1]}" \
    --title "Demo: short trainings on a few hippocampus volumes" --out "$out/report.html"
