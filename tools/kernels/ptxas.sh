#!/usr/bin/env bash
# Fetches the PTX assembler into cache/ and prints its path. It stands alone: no CUDA is installed.
set -euo pipefail
cd "$(dirname "$0")/../.."

# The assembler of CUDA 13.0, the toolkit of the drivers that the kernels are measured on.
version=13.0.88
folder=cache/ptxas-$version

if [ ! -x "$folder/ptxas" ]; then
    download=$(mktemp -d)
    trap 'rm -rf "$download"' EXIT
    python3 -m pip download --quiet --no-deps --dest "$download" "nvidia-cuda-nvcc==$version" >&2
    mkdir -p "$folder"
    python3 -m zipfile -e "$download"/*.whl "$download"
    chmod +x "$download/nvidia/cu13/bin/ptxas"
    mv "$download/nvidia/cu13/bin/ptxas" "$folder/ptxas"
fi
echo "$folder/ptxas"
