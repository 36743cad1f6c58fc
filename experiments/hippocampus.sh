#!/usr/bin/env bash
# The rows of docs/results.md. Usage: experiments/hippocampus.sh STEP DATA, where STEP is
#   evaluate   score the shipped teacher and distilled students on fold 0, from their committed weights
#   plain      train the two students without a teacher, with the same recipe and steps, and score them
#   distil     train the teacher and distil the two students again, and score them
#   windows    choose the inference windows on an inner split: train on folds 2 to 4, score on fold 1
#   report     the tables, from what the other steps left in runs/ (RESULTS=DIR: from another folder)
# Trained weights go to runs/, never into the bundles.
set -euo pipefail
cd "$(dirname "$0")/.."
step=${1:?evaluate, plain, distil, windows or report} data=${2:-} bundles=$PWD/bundles
[ "$step" = report ] || : "${data:?give the folder of MSD Task04_Hippocampus}"

run() { python -m monai.bundle run "$@" --dataset_dir "$data"; }

train() { # BUNDLE RUN OPTION...
    run training --config_file "['$bundles/$1/configs/train.yaml'${overlay:+,'$overlay'}]" --bundle_root "$bundles/$1" \
        --output_dir "runs/$2" --checkpoint "runs/$2/model.pt" --resume true "${@:3}"
}

score() { # BUNDLE RUN OPTION...
    run evaluating --config_file "['$bundles/$1/configs/inference.yaml','$bundles/$1/configs/evaluate.yaml']" \
        --bundle_root "$bundles/$1" --output_dir "runs/$2" "${@:3}"
}

both() { # BUNDLE RUN: train, then score what was trained
    train "$1" "$2"
    score "$1" "$2" --checkpoint "runs/$2/model.pt"
}

distilled() { # STUDENT RUN OPTION...: with the terms and weights of the shipped students
    overlay=$bundles/hippocampus_distillation/configs/dckd.yaml train hippocampus_distillation "$2" \
        --student_bundle "$bundles/$1" --teacher_weights runs/teacher/model.pt \
        --loss_def#terms#contrastive#weight 0.1 --loss_def#terms#ranking#weight 0.05 "${@:3}"
    score "$1" "$2" --checkpoint "runs/$2/model.pt"
}

unet=hippocampus_unet_student_segmentation hrnet=hippocampus_hrnet_student_segmentation
teacher=hippocampus_teacher_segmentation
case $step in
evaluate)
    score $teacher teacher
    score $unet unet_distilled
    score $hrnet hrnet_distilled
    ;;
plain)
    both $unet unet_plain
    both $hrnet hrnet_plain
    ;;
distil)
    both $teacher teacher
    distilled $unet unet_distilled
    distilled $hrnet hrnet_distilled --epochs 30   # as many as its plain training
    ;;
windows)
    train $unet windows --fold 1 --held_out "[0]" --epochs 20
    for window in "[32,48,32] 0.5" "[32,48,32] 0.75" "[40,56,40] 0.5" "[48,64,48] 0.25"; do
        score $unet "windows/$window" --checkpoint runs/windows/model.pt --split 1 \
            --patch_size "${window% *}" --overlap "${window#* }"
    done
    ;;
report)
    from=${RESULTS:-runs}
    dckd report teacher="$from/teacher,$bundles/$teacher" \
        unet_plain="$from/unet_plain,$bundles/$unet" unet_distilled="$from/unet_distilled,$bundles/$unet" \
        hrnet_plain="$from/hrnet_plain,$bundles/$hrnet" hrnet_distilled="$from/hrnet_distilled,$bundles/$hrnet" \
        --compare unet_distilled-unet_plain,unet_distilled-teacher,hrnet_distilled-hrnet_plain,hrnet_distilled-teacher \
        --out runs/hippocampus.html --title "Hippocampus, fold 0"
    ;;
*) echo "unknown step $step: expected evaluate, plain, distil, windows or report" >&2 && exit 2 ;;
esac
