#!/usr/bin/env bash
# The whole story on synthetic ABUS volumes: data, a teacher, a plain and a distilled student, a report.
# Short trainings on easy volumes: they show how everything works, not how good it gets on patients.
set -euo pipefail
cd "$(dirname "$0")/.."

out=$PWD/runs/demo
teacher=$PWD/bundles/abus_teacher_segmentation
student=$PWD/bundles/abus_unet_student_segmentation
distillation=$PWD/bundles/abus_distillation
dataset=$out/data

data=(--dataset_dir "$dataset" --spacing "[1.0,1.0,1.0]" --patch_size "[32,32,32]")
training=(--epochs "${EPOCHS:-10}" --val_interval 5 --learning_rate 0.003 --average_decay 0.98)
scoring=(--split 0 --save_masks true)
source demo/functions.sh

echo "SYNTHETIC DATA: every volume of this demo is computed; nothing in it is evidence about patients."
rm -rf "$out"
mkdir -p "$out/threshold"
export PYTHONWARNINGS=ignore

# 40 volumes, a fifth of them held out
dckd phantom --count 40 --out "$dataset" --layout msd --seed 0 --lesion_ml 0.5,6

train teacher "$teacher"
train plain "$student"
train distilled "$distillation" --teacher_weights "$out/teacher/model.pt" --min_teacher_dice 0.3

echo "== evaluating: threshold baseline"
python demo/threshold_baseline.py "$dataset" "$out/threshold"
evaluate teacher "$teacher"
evaluate plain "$student"
evaluate distilled "$student"

dckd report "threshold=$out/threshold" "teacher=$out/teacher,$teacher" "plain=$out/plain,$student" \
    "distilled=$out/distilled,$student" --compare distilled-plain,distilled-teacher --dataset_dir "$dataset" --planes abus \
    --title "Demo on synthetic ABUS volumes: short trainings, no evidence about patients" --out "$out/report.html"
page distilled "$student" 's/^spacing: .*/spacing: [1.0, 1.0, 1.0]/; s/^patch_size: .*/patch_size: [32, 32, 32]/'
