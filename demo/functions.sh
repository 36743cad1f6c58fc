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

# page RUN BUNDLE [SED]: the network of the run as a page for the browser, with SED over the bundle's inference.yaml
page() {
    [ -f dckd_ext/export/page/index.html ] || { echo "no page: it needs Node.js 20 or newer with npm, and make web"; return; }
    echo "== page: $1"
    mkdir -p "$out/$1/page"
    cp -r "$2/configs" "$out/$1/page"
    mkdir -p "$out/$1/page/models"
    cp "$out/$1/model.pt" "$out/$1/page/models"
    sed -i.bak "${3:-}" "$out/$1/page/configs/inference.yaml" && rm "$out/$1/page/configs/inference.yaml.bak"
    dckd export "$out/$1/page" --web
}

# evaluate RUN BUNDLE OPTION...: the same with the weights of the run
evaluate() {
    score "$1" "$2" --checkpoint "$out/$1/model.pt" "${@:3}"
}
