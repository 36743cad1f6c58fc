#!/usr/bin/env bash
# The whole story on a few volumes: a teacher, a plain and a distilled student, their scores, a report.
# Usage: demo/hippocampus.sh [FOLDER]   in the layout of the Medical Segmentation Decathlon; downloaded by default.
# These are short trainings: they show how everything works, not how good it gets (docs/results.md).
set -euo pipefail
cd "$(dirname "$0")/.."

out=$PWD/runs/demo
teacher=$PWD/bundles/hippocampus_teacher_segmentation
student=$PWD/bundles/hippocampus_unet_student_segmentation
distillation=$PWD/bundles/hippocampus_distillation
dataset=$PWD/data/Task04_Hippocampus download=true
[ $# -eq 0 ] || { dataset=$(realpath "$1") download=false; }

data=(--dataset_dir "$dataset" --limit "${CASES:-16}") # cases to train on, and as many to score
training=(--epochs "${EPOCHS:-12}" --val_interval 4 --learning_rate 0.003 --download "$download")
scoring=(--save_masks true)
source demo/functions.sh

rm -rf "$out"
export PYTHONWARNINGS=ignore

train teacher "$teacher"
train plain "$student"
train distilled "$distillation" --teacher_weights "$out/teacher/model.pt" --min_teacher_dice 0.2

evaluate teacher "$teacher"
evaluate plain "$student"
evaluate distilled "$student"

dckd report "teacher=$out/teacher,$teacher" "plain=$out/plain,$student" "distilled=$out/distilled,$student" \
    --compare distilled-plain,distilled-teacher --dataset_dir "$dataset" \
    --title "Demo: short trainings on a few hippocampus volumes" --out "$out/report.html"
page distilled "$student"
