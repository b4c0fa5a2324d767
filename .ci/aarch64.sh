#!/usr/bin/env bash
# The tests of ga, hardware and the study on an emulated aarch64: Debian's Python for arm64, the packages' own
# wheels for aarch64, and qemu-user, which is called directly. Installs nothing on this machine; needs apt, dpkg,
# pip and the network. NNI has no package for aarch64, and torch is left out for its size.
#
#   .ci/aarch64.sh FOLDER [TESTS...]      FOLDER is kept, and used again
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
folder=$(mkdir -p "${1:?usage: .ci/aarch64.sh FOLDER [TESTS...]}" && cd "$1" && pwd)
shift
tests=("$@")
if [ ${#tests[@]} = 0 ]; then
  # Not hardware/measure, which measures networks of torch and ONNX, nor the speed of costs.
  tests=(tests/ga tests/nni_plugin/study tests/hardware/{calibration,ir,kernels,latency,memory}
    tests/hardware/test_device.py tests/hardware/test_stacks.py)
fi
system=$folder/system packages=$folder/packages

if [ ! -x "$folder/qemu/usr/bin/qemu-aarch64-static" ]; then
  (cd "$folder" && apt-get download -q qemu-user-static && dpkg -x qemu-user-static_*.deb qemu)
fi

# A Debian of another architecture, known to apt in this folder only.
if [ ! -x "$system/usr/bin/python3.11" ]; then
  mkdir -p "$folder"/apt/{lists,cache/archives/partial} "$system"
  : > "$folder/apt/status"
  apt=(apt-get -q -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o "Dir::State::lists=$folder/apt/lists"
    -o "Dir::State::status=$folder/apt/status" -o "Dir::Cache=$folder/apt/cache" -o APT::Sandbox::User=root)
  "${apt[@]}" update
  "${apt[@]}" install --yes --download-only --no-install-recommends python3.11 libstdc++6 git-
  for package in "$folder"/apt/cache/archives/*.deb; do dpkg -x "$package" "$system"; done
fi

# What the tests need, in the tested versions. Named one by one: resolving takes pip many minutes.
if [ ! -d "$packages/pytest" ]; then
  python3 -m pip install -q --disable-pip-version-check --target "$packages" --only-binary :all: --no-deps \
    --python-version 3.11 --implementation cp --platform manylinux2014_aarch64 --platform manylinux_2_28_aarch64 \
    --platform manylinux_2_27_aarch64 -c "$root/constraints.txt" \
    deap moocore cloudpickle cffi platformdirs numpy scipy scikit-learn joblib threadpoolctl narwhals pandas python-dateutil six \
    pyyaml psutil jinja2 markupsafe typer click rich markdown-it-py mdurl pygments shellingham annotated-doc \
    typing-extensions pytest iniconfig pluggy packaging hypothesis sortedcontainers
fi

cd "$root"
export PYTHONPATH=$root:$packages OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE=1 OPENBLAS_NUM_THREADS=1
python=("$folder/qemu/usr/bin/qemu-aarch64-static" -L "$system" "$system/usr/bin/python3.11")
export PYTHONHOME=$system/usr
"${python[@]}" -c 'import platform, numpy, scipy; print(platform.machine(), platform.python_version(), "numpy", numpy.__version__, "scipy", scipy.__version__)'
exec "${python[@]}" -m pytest -q -p no:cacheprovider -m "not slow and not emulator" "${tests[@]}"
