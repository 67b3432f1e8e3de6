#!/bin/sh
# Installs the tools that open exported models into a virtual environment, for check.py:
#
#   crates/multimae-export/python/install.sh VENV [TRANSFORMERS]
#
# TRANSFORMERS is a version such as 4.57.1; the newest if absent.
set -eu
venv=${1:?"give the folder of the virtual environment"}
transformers=transformers${2:+==$2}
python3 -m venv "$venv"
"$venv/bin/pip" install --quiet --extra-index-url https://download.pytorch.org/whl/cpu \
  numpy onnx onnxruntime openvino pillow timm peft torch torchvision "$transformers"
