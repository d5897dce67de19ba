# Sourced by the other scripts: a virtual environment in .venv with the given extras, and those of
# QFLEET_EXTRAS (aer,ibm,pennylane: the tests that need them are skipped without).
# It is made again only when pyproject.toml or the extras have changed.
qfleet_setup() {
    local extras=$1${QFLEET_EXTRAS:+,$QFLEET_EXTRAS} holds=dev${QFLEET_EXTRAS:+,$QFLEET_EXTRAS} stamp
    cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
    stamp=$(sha256sum pyproject.toml constraints.txt | sha256sum | cut -c1-16)
    # dev holds all that demo does.
    if ! grep -qs "$stamp" ".venv/.stamp-$extras" ".venv/.stamp-$holds"; then
        "${PYTHON:-python3}" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
            echo "Python 3.11 or newer is needed; name it with PYTHON=..." >&2
            exit 2
        }
        echo "Setting up .venv with $extras (once) ..." >&2
        "${PYTHON:-python3}" -m venv .venv
        .venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[$extras]" >&2
        echo "$stamp" >".venv/.stamp-$extras"
    fi
    PATH="$PWD/.venv/bin:$PATH"
    export PATH
}

# What some tests need beside dev. Where it cannot be had they are skipped, but never in CI.
qfleet_optional() {
    local package=$1 pin stamp=".venv/.stamp-optional-$1"
    pin=$(grep -i "^$package==" constraints.txt)
    grep -qsx "$pin" "$stamp" && return
    echo "Setting up $pin (once) ..." >&2
    # llama.cpp is compiled: for processors of this kind, not this one alone, and without pictures.
    if CMAKE_ARGS="${CMAKE_ARGS:--DGGML_NATIVE=OFF -DLLAVA_BUILD=OFF -DMTMD_BUILD=OFF}" \
        .venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt "$pin" >&2; then
        echo "$pin" >"$stamp"
    elif [ -n "${CI:-}" ]; then
        return 1
    else
        echo "$package cannot be had here: its tests are skipped" >&2
    fi
}

# The base model for the tests that want the real one.
qfleet_base() {
    quantize pull smollm2-135m >&2 || [ -z "${CI:-}" ]
}
