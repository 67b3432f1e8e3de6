#!/usr/bin/env bash
# Runs fuzz targets for a number of inputs each, one after the other:
#     fuzz/run.sh INPUTS [TARGET...]
# Builds nothing: see docs/reliability.md. LIMIT=300 in the environment ends each target after 300 seconds. Prints
# a row per target; new inputs of interest stay in corpus/,
# and an input that fails is in artifacts/.
set -euo pipefail
cd "$(dirname "$0")"
inputs=${1:?the number of inputs}
shift
built=target/x86_64-unknown-linux-gnu/release
targets=("$@")
if [ ${#targets[@]} = 0 ]; then
    for source in fuzz_targets/*.rs; do targets+=("$(basename "$source" .rs)"); done
fi
failed=0
printf '| target | inputs | seconds | edges | resident MiB | caught | faults |\n|---|---|---|---|---|---|---|\n'
for target in "${targets[@]}"; do
    # Fixtures of the crates that are small files of the format, and the longest input.
    case $target in
        tiff) more=../crates/multimae-data/tests/fixtures/tiff longest=4096 ;;
        mat5) more=../crates/multimae-datasets/tests/fixtures longest=4096 ;;
        mat73) more=../crates/multimae-datasets/tests/fixtures longest=65536 ;;
        table) more=../crates/multimae-data/tests/parquet/fixtures longest=65536 ;;
        shard) more=../crates/multimae-data/tests/fixtures/shards longest=16384 ;;
        pth | zip | npz) more=../crates/multimae/tests/golden/torch longest=12288 ;;
        adapter)
            more="../crates/multimae-cli/tests/fixtures/format-v1/pool ../crates/multimae-cli/tests/fixtures/format-v1/prompts"
            longest=32768 ;;
        *) more= longest=4096 ;;
    esac
    [ -x "$built/$target" ] || { echo "$target is not built" >&2; exit 1; }
    mkdir -p "corpus/$target" "artifacts/$target"
    folders=("corpus/$target")
    for folder in "seeds/$target" $more; do [ ! -d "$folder" ] || folders+=("$folder"); done
    log=artifacts/$target/log
    started=$SECONDS
    fault=0
    "$built/$target" -runs="$inputs" -max_len="$longest" -rss_limit_mb=4096 -timeout=20 -max_total_time="${LIMIT:-0}" -print_final_stats=1 \
        -artifact_prefix="artifacts/$target/" "${folders[@]}" > "$log" 2>&1 || fault=1
    failed=$((failed + fault))
    value() { grep -oE "$1" "$log" | tail -1 | grep -oE '[0-9]+$' || echo '?'; }
    printf '| `%s` | %s | %s | %s | %s | %s | %s |\n' "$target" "$(value 'number_of_executed_units: +[0-9]+')" \
        $((SECONDS - started)) "$(value 'cov: [0-9]+')" "$(value 'peak_rss_mb: +[0-9]+')" \
        "$(grep -c '^caught panic' "$log" || true)" "$fault"
done
[ $failed = 0 ] || { echo "$failed targets failed; see fuzz/artifacts" >&2; exit 1; }
