#!/bin/sh
# Lies where conda and mamba are expected (/opt/conda/bin/conda); the real ones
# are in /opt/conda/real. What changes an environment is done by one process at
# a time, whichever container it is in; everything else goes straight through.

case $0 in
*/*) self=$0 ;;
*) self=$(command -v -- "$0") ;;
esac
while [ -L "$self" ]; do
    target=$(readlink -- "$self")
    case $target in
    /*) self=$target ;;
    *) self=${self%/*}/$target ;;
    esac
done
bin=$(cd -- "${self%/*}" && pwd -P) || exit 127
real=${bin%/*}/real/${self##*/}

# A real conda does not know which provider it came by.
if [ "${1-} ${2-}" = 'info ' ] && [ -r /usr/local/lib/run-docker/conda-provider ]; then
    read -r record </usr/local/lib/run-docker/conda-provider && echo "provider: $record" >&2
fi

# run-docker's own comes first: it is as new as the launcher.
for init in /.run-docker/init /usr/local/lib/run-docker/run-docker-init; do
    if [ -x "$init" ]; then
        exec "$init" lease -- "$real" "$@"
    fi
done
# A plain `docker run` of an image that has none: without the lease.
exec "$real" "$@"
