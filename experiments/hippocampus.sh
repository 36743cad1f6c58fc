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
#   archive    a teacher of folds 1 and 2, then studies/archive.yaml: few labels, and volumes without
#   held_out   four teachers of three folds each, then studies/held_out.yaml: all labels, by teachers that have not seen the case
#   taps       a teacher of folds 3 and 4, then studies/taps.yaml: where features are taken
#   report     the tables, from what the other steps left in runs/ (RESULTS=DIR: from another folder, as runs/larger)
# Trained weights go to runs/, never into the bundles.
set -euo pipefail
cd "$(dirname "$0")/.."
step=${1:?evaluate, teacher, plain, distil, windows, recipe, larger, folds, archive, held_out, taps or report} dataset=${2:-} bundles=$PWD/bundles
[ "$step" = report ] || : "${dataset:?give the folder of MSD Task04_Hippocampus}"
students=${STUDENTS:-unet hrnet}   # STUDENTS=unet: that one alone
out=runs data=(--dataset_dir "$dataset") training=(--resume true) scoring=()
source demo/functions.sh

both() { # RUN BUNDLE OPTION...: train, then score what was trained
    train "$@"
    evaluate "$1" "$2"
}

distil() { # RUN STUDENT OPTION...: the teacher into the student's network, then score that
    train "$1" "$bundles/hippocampus_distillation" --student_bundle "$2" "${@:3}"
    evaluate "$1" "$2"
}

bundle_of() { echo "$bundles/hippocampus_$1_student_segmentation"; }

# plain and distilled students alike
dtype=$(python -m dckd_ext.utils.processor) # bfloat16 where the processor has it
precision=(--autocast "$dtype")

teacher=$bundles/hippocampus_teacher_segmentation unet=$(bundle_of unet) hrnet=$(bundle_of hrnet)
case $step in
evaluate)
    score teacher "$teacher"
    for student in $students; do score "${student}_distilled" "$(bundle_of "$student")"; done
    ;;
teacher)
    both teacher "$teacher"
    ;;
plain)
    for student in $students; do both "${student}_plain" "$(bundle_of "$student")" "${precision[@]}"; done
    ;;
distil)
    for student in $students; do distil "${student}_distilled" "$(bundle_of "$student")" "${precision[@]}"; done
    ;;
windows)
    train windows "$unet" --fold 1 --held_out "[0]" --epochs 20
    for window in "[32,48,32] 0.5" "[32,48,32] 0.75" "[40,56,40] 0.5" "[48,64,48] 0.25"; do
        score "windows/$window" "$unet" --checkpoint "$out/windows/model.pt" --split 1 \
            --patch_size "${window% *}" --overlap "${window#* }"
    done
    ;;
recipe)
    for trial in as_is stronger weaker larger; do
        overlay=experiments/augmentation/$trial.yaml patch="[32,48,32]"
        [ -f "$overlay" ] || overlay=
        [ "$trial" = larger ] && patch="[40,56,40]"
        train "recipe/$trial" "$unet" --fold 1 --held_out "[0]" --epochs 30 "${precision[@]}" --patch_size "$patch"
        evaluate "recipe/$trial" "$unet" --split 1 --patch_size "$patch"
    done
    ;;
larger)
    data+=(--patch_size "[40,56,40]") options=("${precision[@]}" --epochs 60)
    both larger/teacher "$teacher" "${options[@]}"
    for student in $students; do
        both "larger/${student}_plain" "$(bundle_of "$student")" "${options[@]}"
        distil "larger/${student}_distilled" "$(bundle_of "$student")" "${options[@]}" \
            --teacher_weights "$PWD/runs/larger/teacher/model.pt"
    done
    ;;
folds)
    for fold in ${FOLDS:-1 2 3 4}; do
        train "folds/teacher$fold" "$teacher" --fold "$fold" "${precision[@]}"
        evaluate "folds/teacher$fold" "$teacher" --split "$fold"
    done
    ;;
archive)
    train archive/teacher "$teacher" --fold 3 --held_out "[0,4]" --epochs 60 --val_interval 20 "${precision[@]}"
    evaluate archive/teacher "$teacher" --split 0
    OMP_NUM_THREADS=1 dckd study experiments/studies/archive.yaml "${data[@]}" --out "$out/archive" --jobs 2
    ;;
held_out)
    python -m dckd_ext folds "$teacher" --out "$out/held_out/teachers" --held_out "[0]" "${data[@]}" "${precision[@]}"
    OMP_NUM_THREADS=1 dckd study experiments/studies/held_out.yaml "${data[@]}" --out "$out/held_out" --jobs 2
    ;;
taps)
    train taps/teacher "$teacher" --fold 1 --held_out "[0,2]" --epochs 60 --val_interval 20 "${precision[@]}"
    evaluate taps/teacher "$teacher" --split 1
    OMP_NUM_THREADS=1 dckd study experiments/studies/taps.yaml "${data[@]}" --out "$out/taps" --jobs 2
    ;;
report)
    from=${RESULTS:-runs}
    dckd report teacher="$from/teacher,$teacher" \
        unet_plain="$from/unet_plain,$unet" unet_distilled="$from/unet_distilled,$unet" \
        hrnet_plain="$from/hrnet_plain,$hrnet" hrnet_distilled="$from/hrnet_distilled,$hrnet" \
        --compare unet_distilled-unet_plain,unet_distilled-teacher,hrnet_distilled-hrnet_plain,hrnet_distilled-teacher \
        --out runs/hippocampus.html --title "Hippocampus, fold 0"
    ;;
*) echo "unknown step $step: expected evaluate, teacher, plain, distil, windows, recipe, larger, folds, archive, held_out, taps or report" >&2 && exit 2 ;;
esac
