# What must change the calling shell is done by the activator's text; all else
# by the program. (Preceded by the lines that set CONDA_EXE.)
conda() {
    case "${1-}" in
    activate | deactivate)
        _oracle_text=$(PS1="${PS1-}" "$CONDA_EXE" shell.posix "$@") || return
        eval "$_oracle_text"
        ;;
    install | update | upgrade | remove | uninstall)
        "$CONDA_EXE" "$@" || return
        _oracle_text=$(PS1="${PS1-}" "$CONDA_EXE" shell.posix reactivate) || return
        eval "$_oracle_text"
        ;;
    *) "$CONDA_EXE" "$@" ;;
    esac
}
if [ -z "${CONDA_SHLVL+x}" ]; then
    export CONDA_SHLVL=0
    export PATH="$(dirname "$(dirname "$CONDA_EXE")")/condabin:$PATH"
fi
