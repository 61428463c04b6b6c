#!/bin/sh
# Installs run-docker from its archive, or removes what it installed.
#
#   ./install.sh [--prefix DIR] [--uninstall]
#
# DIR is /usr/local unless given. DESTDIR is put before every path that is
# written, for packagers. Settings for everybody come to /etc/run-docker, where
# a file that is there already stays; a prefix below a home gets none.
set -eu

say() { printf 'run-docker: %s\n' "$*" >&2; }
die() {
    say "$1"
    printf '  hint: %s\n' "$2" >&2
    exit 1
}

here=$(cd "$(dirname "$0")" && pwd)
prefix=/usr/local
uninstall=
while [ $# -gt 0 ]; do
    case $1 in
    --prefix) prefix=${2:?--prefix needs a directory} && shift ;;
    --prefix=*) prefix=${1#*=} ;;
    --uninstall) uninstall=1 ;;
    -h | --help) sed -n '2,/^set /s/^# \{0,1\}//p' "$0" && exit ;;
    *) die "the option $1 is not known" "./install.sh --help" ;;
    esac
    shift
done
case $prefix in
/*) prefix=${prefix%/} ;;
*) die "the prefix $prefix is not absolute" "./install.sh --prefix \"\$HOME/.local\"" ;;
esac

root=${DESTDIR:-}$prefix
list=$root/share/run-docker/installed
settings=${DESTDIR:-}/etc/run-docker/runconfigs

# Removes the files that the list names, then the directories that were made for
# them (a slash at the end), the deepest first, where nobody else's files are in.
remove() {
    [ -f "$list" ] || die "nothing of run-docker is installed at $root" "name its prefix: ./install.sh --prefix DIR --uninstall"
    names=$(LC_ALL=C sort -r "$list")
    rm -f "$list"
    printf '%s\n' "$names" | while read -r name; do
        case $name in
        */) rmdir "$root/$name" 2>/dev/null || : ;;
        *) rm -f "$root/$name" ;;
        esac
    done
}

if [ -n "$uninstall" ]; then
    remove
    # Untouched settings go; those that somebody changed stay.
    if cmp -s "$here/runconfigs" "$settings"; then
        rm -f "$settings"
        rmdir "${settings%/*}" 2>/dev/null || :
    fi
    [ ! -e "$settings" ] || say "$settings was changed and is left"
    say "removed from $root"
    exit
fi

mkdir -p "$root" 2>/dev/null || :
[ -w "$root" ] || die "$root cannot be written to" "sudo ./install.sh, or --prefix \"\$HOME/.local\""
# An older version may have had files that this one has not.
[ ! -f "$list" ] || remove
made=$(cd "$here/files" && find . -mindepth 1 -type d | sed 's|^\./||' |
    while read -r directory; do [ -d "$root/$directory" ] || printf '%s/\n' "$directory"; done)
(cd "$here/files" && tar -cf - .) | (cd "$root" && tar -xf - --no-same-owner --no-overwrite-dir)
{
    (cd "$here/files" && find . ! -type d | sed 's|^\./||')
    [ -z "$made" ] || printf '%s\n' "$made"
} >"$list"
case $prefix in
/usr | /usr/local | /opt | /opt/*)
    if [ ! -e "$settings" ]; then
        mkdir -p "${settings%/*}"
        cp "$here/runconfigs" "$settings"
        chmod 644 "$settings"
    fi
    ;;
esac
say "installed to $root"
