# Sourced by the other scripts, after they have changed to the repository's root: makes .venv.
# POSIX sh. pip is used as the machine has it configured.

# Says one sentence and ends the script.
die() {
    printf '%s: %s\n' "$(basename "$0")" "$1" >&2
    exit 1
}

# ensure_venv EXTRA...: .venv holds Gnomon (editable) with these extras, by constraints.txt. Does
# nothing if it did so for the same pyproject.toml and constraints.txt before.
ensure_venv() {
    extras=$(printf '%s,' "$@")
    extras=${extras%,}
    stamp=.venv/.installed-$extras
    # The root is part of it: a moved .venv points to where it was.
    wanted=$(pwd; cat pyproject.toml constraints.txt)
    wanted=$(printf '%s' "$wanted" | cksum)
    if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && .venv/bin/python -c ''; then
        return
    fi
    if ! .venv/bin/python -c '' 2>/dev/null; then
        make_venv
    fi
    printf 'Installing gnomon[%s] into .venv (a minute or two the first time) ... ' "$extras" >&2
    started=$(date +%s)
    # Compiled afterwards, on all cores and without what packages ship as their own tests: pip takes
    # twice as long. Some packages ship files that do not compile, which harms nothing.
    if ! .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-compile \
        --constraint constraints.txt --editable ".[$extras]" >.venv/install.log 2>&1
    then
        printf 'failed.\n' >&2
        cat .venv/install.log >&2
        die "pip could not install what is needed; what it said is above."
    fi
    .venv/bin/python -m compileall -qq -j 0 -x '/tests?/' .venv/lib >>.venv/install.log 2>&1 || :
    printf 'done in %s s.\n' "$(($(date +%s) - started))" >&2
    printf '%s' "$wanted" >"$stamp"
}

make_venv() {
    python=${PYTHON:-python3}
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
        die "Gnomon needs Python 3.11 or newer: install it, or name it, as in PYTHON=python3.12 $0."
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        die "$python has no venv module: install it (on Debian and Ubuntu: apt install python3-venv)."
    "$python" -m venv --clear .venv || die "$python could not make a virtual environment in .venv."
}
