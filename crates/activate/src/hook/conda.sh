# For bash, zsh, dash and their like; under set -u and set -e too, any number of
# times. A backslash before a word keeps an alias of the user's out of it.

__conda_exe() {
    "$CONDA_EXE" ${_CE_M:-} ${_CE_CONDA:-} "$@"
}

# Forget where commands were found: PATH is another one.
__conda_hashr() {
    if [ -n "${ZSH_VERSION:+x}" ]; then
        \rehash
    else
        \hash -r 2>/dev/null || :
    fi
}

# PS1 is no variable of the environment, and the program has to know it.
__conda_activate() {
    __conda_text="$(PS1="${PS1:-}" __conda_exe shell.posix "$@")" || {
        \set -- "$?"
        \unset __conda_text
        \return "$1"
    }
    \eval "\\unset __conda_text
$__conda_text"
    __conda_hashr
}

# What was installed may bring scripts and variables of its own.
__conda_reactivate() {
    __conda_activate reactivate
}

conda() {
    case "${1:-}" in
        activate | deactivate)
            __conda_activate "$@"
            ;;
        install | update | upgrade | remove | uninstall)
            __conda_exe "$@" || \return
            __conda_reactivate
            ;;
        *)
            __conda_exe "$@"
            ;;
    esac
}

if [ -z "${CONDA_SHLVL+x}" ]; then
    \export CONDA_SHLVL=0
    case ":${PATH:-}:" in
        *":$__conda_bin:"*) ;;
        *) PATH="$__conda_bin${PATH:+:$PATH}" ;;
    esac
    \export PATH
    # Unbound, it would end a shell under set -u at the first activation.
    PS1="${PS1:-}"
fi
\unset __conda_bin
