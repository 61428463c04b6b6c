#!/bin/sh
# Starts an image of run-docker's as yourself, with nothing but the docker client.
set -eu
tty=
if [ -t 0 ] && [ -t 1 ]; then tty=-t; fi
exec docker run --rm -i $tty \
    -e USER_ID="$(id -u)" -e GROUP_ID="$(id -g)" -e USER_NAME="$(id -un)" \
    -e GROUPS="$(id -G | tr ' ' ',')" \
    -v "$PWD":/exp -w /exp \
    "${IMAGE:-$(id -un)/cuda-miniconda:latest}" "$@"
