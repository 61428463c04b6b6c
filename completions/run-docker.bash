# bash completion of run-docker and run-docker-conda.
# By hand: eval "$(run-docker completion bash)"

_run_docker() {
    local program=${1/#\~\//$HOME/} current=$2 line last=''
    COMPREPLY=()
    while IFS=$'\t' read -r line _; do
        case $line in
        :*) last=$line ;;
        *) COMPREPLY+=("$line") ;;
        esac
    done < <("$program" internal-complete --bash "$COMP_WORDBREAKS" -- "${COMP_LINE:0:COMP_POINT}" 2>/dev/null)
    case $last in
    :files) compopt -o filenames && mapfile -t COMPREPLY < <(compgen -f -- "$current") ;;
    :directories) compopt -o filenames && mapfile -t COMPREPLY < <(compgen -d -- "$current") ;;
    :commands) compopt -o filenames && mapfile -t COMPREPLY < <(compgen -c -f -- "$current" | sort -u) ;;
    esac
}

complete -F _run_docker run-docker run-docker-conda
