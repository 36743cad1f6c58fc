#!/usr/bin/env bash
# The whole story on synthetic ABUS volumes: data, a teacher, a plain and a distilled student, a report.
# Short trainings on easy volumes: they show how everything works, not how good it gets on patients.
set -euo pipefail
cd "$(dirname "$0")/.."

volumes=40             # a fifth of them is held out
epochs=${EPOCHS:-10}
out=$PWD/runs/demo
teacher=$PWD/bundles/abus_teacher_segmentation
student=$PWD/bundles/abus_unet_student_segmentation
distillation=$PWD/bundles/abus_distillation
data=$out/data
coarse=(--spacing "[1.0,1.0,1.0]" --patch_size "[32,32,32]")

# train RUN BUNDLE OPTION...: its weights go to runs/demo/RUN, not into the bundle
train() {
    echo "== training: $1"
    python -m monai.bundle run training --config_file "$2/configs/train.yaml" --bundle_root "$2" \
        --dataset_dir "$data" "${coarse[@]}" --epochs "$epochs" --val_interval 5 --learning_rate 0.003 --average_decay 0.98 \
        --checkpoint "$out/$1/model.pt" --output_dir "$out/$1" "${@:3}"
}

# evaluate RUN BUNDLE: scores and masks of the held-out volumes, with the weights of that run
evaluate() {
    echo "== evaluating: $1"
    python -m monai.bundle run evaluating \
        --config_file "['$2/configs/inference.yaml','$2/configs/evaluate.yaml']" --bundle_root "$2" \
        --dataset_dir "$data" "${coarse[@]}" --split 0 --save_masks true \
        --checkpoint "$out/$1/model.pt" --output_dir "$out/$1"
}

echo "SYNTHETIC DATA: every volume of this demo is computed; nothing in it is evidence about patients."
rm -rf "$out"
mkdir -p "$out/threshold"
export PYTHONWARNINGS=ignore

dckd phantom --count "$volumes" --out "$data" --layout msd --seed 0 --lesion_ml 0.5,6

train teacher "$teacher"
train plain "$student"
train distilled "$distillation" --teacher_weights "$out/teacher/model.pt" --min_teacher_dice 0.3

echo "== evaluating: threshold baseline"
python demo/threshold_baseline.py "$data" "$out/threshold"
evaluate teacher "$teacher"
evaluate plain "$student"
evaluate distilled "$student"

dckd report "threshold=$out/threshold" "teacher=$out/teacher,$teacher" "plain=$out/plain,$student" \
    "distilled=$out/distilled,$student" --compare distilled-plain,distilled-teacher --dataset_dir "$data" --planes abus \
    --title "Demo on synthetic ABUS volumes: short trainings, no evidence about patients" --out "$out/report.html"
