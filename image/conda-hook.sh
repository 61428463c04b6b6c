# Makes `conda` and `conda activate` work in every shell, without `conda init`
# and without a line in anybody's ~/.bashrc. Read by /etc/bash.bashrc and, in
# login shells, by /etc/profile; twice does no harm.

if [ -n "${_run_docker_conda_hook:-}" ]; then
    :
elif [ -r /opt/conda/etc/profile.d/conda.sh ]; then
    _run_docker_conda_hook=1
    . /opt/conda/etc/profile.d/conda.sh
elif [ ! -x /opt/conda/bin/conda ]; then
    _run_docker_conda_hook=1
    case $- in
    *i*) echo "There is no conda in this image." >&2 ;;
    esac
fi
