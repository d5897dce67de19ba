# Sourced by the other scripts: a virtual environment in .venv with the given extras.
# It is made again only when pyproject.toml or the extras have changed.
qfleet_setup() {
    local extras=$1 stamp
    cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
    stamp=$(echo "$extras" | cat - pyproject.toml | sha256sum | cut -c1-16)
    if [ "$(cat .venv/.stamp 2>/dev/null)" != "$stamp" ]; then
        "${PYTHON:-python3}" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
            echo "Python 3.11 or newer is needed; name it with PYTHON=..." >&2
            exit 2
        }
        echo "Setting up .venv with $extras (once) ..." >&2
        "${PYTHON:-python3}" -m venv .venv
        .venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[$extras]" >&2
        echo "$stamp" >.venv/.stamp
    fi
    PATH="$PWD/.venv/bin:$PATH"
    export PATH
}
