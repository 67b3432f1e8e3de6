#!/usr/bin/env bash
# Assembles the playground: docs/playground/build.sh RUN ROOMS OUT
#
#   RUN    folder of a pre-training run, for example demo/pretrain
#   ROOMS  folder of rooms, written by `multimae synth`
#   OUT    folder to write; any static server can serve it
#
# Needs multimae, Node 18 or later, and npm. MULTIMAE names another program, ROOM_COUNT another number of rooms than 8.
set -euo pipefail

ORT_VERSION=1.30.0
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
multimae=${MULTIMAE:-multimae}

fail() { printf 'build.sh: %s\n' "$*" >&2; exit 1; }

if [ $# -ne 3 ]; then
    printf 'usage: %s RUN ROOMS OUT\n' "$0" >&2
    exit 2
fi
run=$1 rooms=$2 out=$3
[ -d "$run" ] || fail "$run: no such folder; pre-train a model with 'multimae demo'"
[ -d "$rooms" ] || fail "$rooms: no such folder; make rooms with 'multimae synth --out $rooms --count 12 --seed 1'"
command -v "$multimae" > /dev/null || fail "$multimae: not found; install it, or set MULTIMAE to the program"
for tool in node npm; do
    command -v "$tool" > /dev/null || fail "$tool: not found; install Node 18 or later from https://nodejs.org"
done

packages=$(mktemp -d)
trap 'rm -rf "$packages"' EXIT

mkdir -p "$out/ort" "$out/rooms" "$out/model"
cp "$here"/index.html "$here"/playground.js "$here"/maps.mjs "$here"/playground.css "$out"
rm -f "$out"/rooms/*.bin
"$multimae" export --to onnx --model "$run" --out "$out/model" --weights half --force
node "$here/rooms.mjs" "$rooms" "$out/rooms" "${ROOM_COUNT:-8}"

npm install --prefix "$packages" --no-save --no-audit --no-fund --ignore-scripts --loglevel=error \
    "onnxruntime-web@$ORT_VERSION" > /dev/null
package=$packages/node_modules/onnxruntime-web
for file in ort.wasm.min.mjs ort-wasm-simd-threaded.mjs ort-wasm-simd-threaded.wasm; do
    cp "$package/dist/$file" "$out/ort"
done
cp "$package/package.json" "$out/ort"

printf 'The playground is in %s. Serve it:\n\n    python3 -m http.server --directory %s 8000\n\nand open http://localhost:8000/\n' "$out" "$out"
