# shellcheck shell=bash
# BASH_ENV of the image: every bash that runs a script or a -c reads this. It
# starts no program and prints nothing; `conda activate` works as at a prompt.
# shellcheck disable=SC1091 # what is sourced lies in the image
if [ -r /opt/conda/etc/profile.d/conda.sh ]; then
    conda() {
        unset -f conda
        . /opt/conda/etc/profile.d/conda.sh && conda "$@"
    }
fi
