# For scripts to source: training and scoring a bundle as one line each. The script sets `out`, the folder of all runs, and
# three arrays of options: `data` for both, `training` and `scoring`. RUN is a folder in `out`, BUNDLE any bundle's folder.

# train RUN BUNDLE OPTION...: the weights go to the run, not into the bundle; with `overlay`, a config over the bundle's
train() {
    echo "== training: $1"
    python -m monai.bundle run training --config_file "['$2/configs/train.yaml'${overlay:+,'$overlay'}]" --bundle_root "$2" \
        --checkpoint "$out/$1/model.pt" --output_dir "$out/$1" "${data[@]}" "${training[@]}" "${@:3}"
}

# score RUN BUNDLE OPTION...: scores of the held-out cases with the bundle's own weights
score() {
    echo "== scoring: $1"
    python -m monai.bundle run evaluating \
        --config_file "['$2/configs/inference.yaml','$2/configs/evaluate.yaml']" --bundle_root "$2" \
        --output_dir "$out/$1" "${data[@]}" "${scoring[@]}" "${@:3}"
}

# evaluate RUN BUNDLE OPTION...: the same with the weights of the run
evaluate() {
    score "$1" "$2" --checkpoint "$out/$1/model.pt" "${@:3}"
}
