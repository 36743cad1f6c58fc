#!/usr/bin/env bash
# The rows of docs/results.md. Usage: experiments/hippocampus.sh STEP DATA, where STEP is
#   evaluate   score the shipped teacher and distilled students on fold 0, from their committed weights
#   teacher    train the teacher again and score it
#   plain      train the two students without a teacher, with the same recipe and steps, and score them
#   distil     distil the two students again from the shipped teacher, and score them
#   windows    choose the inference windows on an inner split: train on folds 2 to 4, score on fold 1
#   recipe     trials on the same inner split: stronger and weaker augmentation, larger patches
#   larger     teacher, plain and distilled students on larger patches, which are not shipped
#   folds      a teacher for each of the folds 1 to 4, which it has not seen, for studies/folds.yaml (FOLDS="1 2": these)
#   report     the tables, from what the other steps left in runs/ (RESULTS=DIR: from another folder, as runs/larger)
# Trained weights go to runs/, never into the bundles.
set -euo pipefail
cd "$(dirname "$0")/.."
step=${1:?evaluate, teacher, plain, distil, windows, recipe, larger, folds or report} data=${2:-} bundles=$PWD/bundles
students=${STUDENTS:-unet hrnet}   # STUDENTS=unet: that one alone
window=()                          # more options of trainings and scorings alike
[ "$step" = report ] || : "${data:?give the folder of MSD Task04_Hippocampus}"

run() { python -m monai.bundle run "$@" --dataset_dir "$data"; }

train() { # BUNDLE RUN OPTION...
    run training --config_file "['$bundles/$1/configs/train.yaml'${overlay:+,'$overlay'}]" --bundle_root "$bundles/$1" \
        --output_dir "runs/$2" --checkpoint "runs/$2/model.pt" --resume true "${window[@]}" "${@:3}"
}

score() { # BUNDLE RUN OPTION...
    run evaluating --config_file "['$bundles/$1/configs/inference.yaml','$bundles/$1/configs/evaluate.yaml']" \
        --bundle_root "$bundles/$1" --output_dir "runs/$2" "${window[@]}" "${@:3}"
}

both() { # BUNDLE RUN OPTION...: train, then score what was trained
    train "$@"
    score "$1" "$2" --checkpoint "runs/$2/model.pt"
}

distil() { # STUDENT RUN OPTION...: the teacher into the student's network, then score that
    train hippocampus_distillation "$2" --student_bundle "$bundles/$(bundle_of "$1")" "${@:3}"
    score "$(bundle_of "$1")" "$2" --checkpoint "runs/$2/model.pt"
}

bundle_of() { echo "hippocampus_$1_student_segmentation"; }

# plain and distilled students alike
precision=(--autocast bfloat16)

teacher=hippocampus_teacher_segmentation unet=$(bundle_of unet) hrnet=$(bundle_of hrnet)
case $step in
evaluate)
    score $teacher teacher
    for student in $students; do score "$(bundle_of "$student")" "${student}_distilled"; done
    ;;
teacher)
    both $teacher teacher
    ;;
plain)
    for student in $students; do both "$(bundle_of "$student")" "${student}_plain" "${precision[@]}"; done
    ;;
distil)
    for student in $students; do distil "$student" "${student}_distilled" "${precision[@]}"; done
    ;;
windows)
    train $unet windows --fold 1 --held_out "[0]" --epochs 20
    for window in "[32,48,32] 0.5" "[32,48,32] 0.75" "[40,56,40] 0.5" "[48,64,48] 0.25"; do
        score $unet "windows/$window" --checkpoint runs/windows/model.pt --split 1 \
            --patch_size "${window% *}" --overlap "${window#* }"
    done
    ;;
recipe)
    for trial in as_is stronger weaker larger; do
        overlay=experiments/augmentation/$trial.yaml patch="[32,48,32]"
        [ -f "$overlay" ] || overlay=
        [ "$trial" = larger ] && patch="[40,56,40]"
        train $unet "recipe/$trial" --fold 1 --held_out "[0]" --epochs 30 --autocast bfloat16 --patch_size "$patch"
        score $unet "recipe/$trial" --checkpoint "runs/recipe/$trial/model.pt" --split 1 --patch_size "$patch"
    done
    ;;
larger)
    window=(--patch_size "[40,56,40]") options=("${precision[@]}" --epochs 60)
    both $teacher larger/teacher "${options[@]}"
    for student in $students; do
        both "$(bundle_of "$student")" "larger/${student}_plain" "${options[@]}"
        distil "$student" "larger/${student}_distilled" "${options[@]}" \
            --teacher_weights "$PWD/runs/larger/teacher/model.pt"
    done
    ;;
folds)
    for fold in ${FOLDS:-1 2 3 4}; do
        train $teacher "folds/teacher$fold" --fold "$fold" "${precision[@]}"
        score $teacher "folds/teacher$fold" --split "$fold" --checkpoint "runs/folds/teacher$fold/model.pt"
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
*) echo "unknown step $step: expected evaluate, teacher, plain, distil, windows, recipe, larger, folds or report" >&2 && exit 2 ;;
esac
