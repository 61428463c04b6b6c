# shellcheck shell=sh
# Makes `conda activate` work at the first prompt, without `conda init` and
# without a line in anybody's ~/.bashrc. Lies in /etc/profile.d for login shells;
# /etc/bash.bashrc and /etc/zsh/zshrc read it too. Reading it twice does no harm.
# It starts no program and prints nothing but what a prompt should know.

# A login shell resets PATH (/etc/profile). The environment that `run-docker -n`
# activated comes before the commands of conda itself.
# shellcheck disable=SC2123,SC1091 # PATH is meant; what is sourced lies in the image
case :$PATH: in
*:/opt/conda/condabin:*) ;;
*) PATH=/opt/conda/condabin${PATH:+:$PATH} ;;
esac
if [ -n "${CONDA_PREFIX:-}" ] && [ "${CONDA_SHLVL:-0}" -gt 0 ] 2>/dev/null; then
    case :$PATH: in
    *:"$CONDA_PREFIX/bin":*) ;;
    *) PATH=$CONDA_PREFIX/bin:$PATH ;;
    esac
fi

if [ -n "${_run_docker_conda_hook:-}" ]; then
    :
elif [ -r /opt/conda/etc/profile.d/conda.sh ]; then
    _run_docker_conda_hook=1
    # The real function is read when it is first called.
    conda() {
        unset -f conda
        . /opt/conda/etc/profile.d/conda.sh && conda "$@"
    }
    # A shell started inside an environment shows it, as the one it came from.
    case $- in
    *i*)
        case ${PS1:-} in
        "${CONDA_PROMPT_MODIFIER:-}"*) ;;
        *) PS1=$CONDA_PROMPT_MODIFIER${PS1:-} ;;
        esac
        ;;
    esac
elif [ ! -x /opt/conda/bin/conda ]; then
    _run_docker_conda_hook=1
    case $- in
    *i*)
        # An image without conda by choice does not say so at every prompt.
        _run_docker_why=
        { read -r _run_docker_why </usr/local/lib/run-docker/conda-provider; } 2>/dev/null
        case $_run_docker_why in
        *CONDA_PROVIDER=none*) ;;
        *)
            echo "There is no conda in this image${_run_docker_why:+: ${_run_docker_why#none }}." >&2
            echo "On the host, \`run-docker build\` makes one that has it." >&2
            ;;
        esac
        unset _run_docker_why
        ;;
    esac
fi
