#!/bin/sh
# Starts the command as the user that USER_ID, GROUP_ID, USER_NAME and GROUPS
# name. That is run-docker-init's work; run-docker brings its own and does not
# come through here. An image without one starts the command as it is.
init=/usr/local/lib/run-docker/run-docker-init

if [ $# -eq 0 ]; then
    if command -v bash >/dev/null; then set -- bash; else set -- sh; fi
fi
if [ -x "$init" ]; then
    exec "$init" "$@"
fi
if [ -n "${USER_ID:-}" ]; then
    echo "entrypoint.sh: this image has no run-docker-init, so USER_ID=$USER_ID is not mapped; 'run-docker build' makes one that has it" >&2
fi
exec "$@"
