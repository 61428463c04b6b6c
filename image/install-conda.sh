#!/bin/sh
# Puts a conda at /opt/conda while the image is built. Run by the Dockerfile.
#
#   CONDA_PROVIDER   auto | miniconda | miniforge | embedded | none
#                    auto: Miniconda where its server answers within ten seconds,
#                    else the embedded conda that lies beside this script, else none
#   CONDA_CHANNELS   channels that are configured, parted by blanks (conda-forge)
#   CONDA_MIRROR     URL of a directory that holds the installer, instead of its maker's
#   CONDA_INSTALLER  another installer's file name; needs CONDA_SHA256, its SHA-256
#
# An installer is run only when its SHA-256 is the one known before the download.
# What was installed is written to `conda-provider` beside this script.
set -eu

lib=$(cd "$(dirname "$0")" && pwd)
provider=${CONDA_PROVIDER:-auto}
channels=${CONDA_CHANNELS:-conda-forge}
root=${CONDA_ROOT:-/opt/conda}
# Seconds without a connection, or with next to no data, after which a download is given up.
patience=${CONDA_PATIENCE:-10}
pause=${CONDA_RETRY_PAUSE:-3}

miniconda_version=py312_26.7.1-1
miniconda_site=https://repo.anaconda.com/miniconda
miniforge_version=26.3.2-2
miniforge_site=https://github.com/conda-forge/miniforge/releases/download/$miniforge_version

say() { printf 'conda: %s\n' "$*"; }
die() {
    printf 'conda: %s\n' "$1" >&2
    [ $# -lt 2 ] || printf '  hint: %s\n' "$2" >&2
    exit 1
}

# The pinned SHA-256 of an installer by file name. Where they were seen and by
# how many: docs/images.md.
pinned_sha256() {
    case $1 in
    Miniconda3-py312_26.7.1-1-Linux-x86_64.sh) echo b27f60ab63e77eeab50a5417c989120f767e863df32400190d4c7262369f8695 ;;
    Miniconda3-py312_26.7.1-1-Linux-aarch64.sh) echo f6d64a1565e713429683720f59dd6661f5131c2f959a4830438eb1969cde23f7 ;;
    Miniforge3-26.3.2-2-Linux-x86_64.sh) echo 42260ffe3830fb953d5eee1bbb32229ff06aa7c3833c1ed7a9a0420a95685d94 ;;
    Miniforge3-26.3.2-2-Linux-aarch64.sh) echo f4096a92482b30f04534cddb63d8bc929118318deffac71d90fb89dc52359d22 ;;
    esac
}

# Sets $file, $url and $sha256 for provider $1; false, with a line, where there is none.
choose_installer() {
    machine=$(uname -m)
    case $machine in arm64) machine=aarch64 ;; esac
    case $1 in
    miniconda) file=Miniconda3-$miniconda_version-Linux-$machine.sh site=$miniconda_site ;;
    miniforge) file=Miniforge3-$miniforge_version-Linux-$machine.sh site=$miniforge_site ;;
    esac
    if [ -n "${CONDA_INSTALLER:-}" ]; then
        [ -n "${CONDA_SHA256:-}" ] || die "CONDA_INSTALLER=$CONDA_INSTALLER without CONDA_SHA256" \
            "give the SHA-256 that its maker publishes: --build-arg CONDA_SHA256=…"
        file=$CONDA_INSTALLER
    fi
    sha256=${CONDA_SHA256:-$(pinned_sha256 "$file")}
    site=${CONDA_MIRROR:-$site}
    url=${site%/}/$file
    [ -n "$sha256" ] || {
        say "there is no pinned installer of $1 for $machine"
        return 1
    }
}

# fetch URL FILE ATTEMPTS LOWEST: false when it did not come; $why says why.
# LOWEST is the rate in bytes a second below which it is given up.
fetch() {
    attempt=1
    while :; do
        rc=0
        status=$(curl --fail --silent --location --proto =https,http --proto-redir =https,http \
            --connect-timeout "$patience" --speed-limit "$4" --speed-time "$patience" --max-time 3600 \
            --output "$2" --write-out '%{http_code}' "$1") || rc=$?
        [ "$rc" != 0 ] || return 0
        rm -f "$2"
        why=$(reason "$rc" "$status")
        # What the server says no to, it will say no to again.
        case $status in 408 | 429) ;; 4??) return 1 ;; esac
        # A server that never answered gets one chance in `auto`, one that broke off all of them.
        [ "$status" != 000 ] || [ "$4" = 1 ] || return 1
        [ "$attempt" -lt "$3" ] || return 1
        say "$why; trying again ($((attempt + 1)) of $3)"
        sleep "$pause"
        attempt=$((attempt + 1))
    done
}

# reason EXIT-CODE-OF-CURL HTTP-STATUS, in words.
reason() {
    case $1 in
    5) echo "the proxy's name cannot be resolved" ;;
    6) echo "the server's name cannot be resolved" ;;
    7) echo "the server refuses the connection" ;;
    18 | 52 | 56) echo "the server broke off" ;;
    22) echo "the server answers $2" ;;
    23) echo "the download cannot be written (no space left?)" ;;
    28) echo "nothing came for $patience s" ;;
    35 | 51 | 58 | 60) echo "the server's certificate cannot be verified" ;;
    *) echo "curl failed with code $1" ;;
    esac
}

# download_and_run PROVIDER ATTEMPTS LOWEST: false, with a line, where it could not be installed.
download_and_run() {
    choose_installer "$1" || return 1
    command -v curl >/dev/null || {
        say "there is no curl to download $file with"
        return 1
    }
    say "$1: downloading $url"
    work=$(mktemp -d)
    if ! fetch "$url" "$work/$file" "$2" "$3"; then
        rm -rf "$work"
        say "$1: $url did not come: $why"
        return 1
    fi
    found=$(sha256sum <"$work/$file")
    found=${found%% *}
    if [ "$found" != "$sha256" ]; then
        rm -rf "$work"
        say "$1: $file is not what it should be, and was not run: SHA-256 $found instead of $sha256"
        return 1
    fi
    say "$1: SHA-256 $sha256 is right; installing"
    rc=0
    # -b: without questions, with the installer's own terms taken as agreed to.
    TMPDIR=$work bash "$work/$file" -b -p "$root" </dev/null >"$work/log" 2>&1 || rc=$?
    if [ "$rc" = 0 ] && version=$("$root/bin/conda" --version 2>>"$work/log"); then
        rm -rf "$work" "$root/pkgs"
        say "$1: $version at $root"
        return 0
    fi
    tail -n 20 "$work/log"
    rm -rf "$work" "$root"
    say "$1: the installer failed (code $rc)"
    return 1
}

# The embedded conda: a program that came along in the build context.
install_embedded() {
    [ -x "$lib/conda" ] || return 1
    mkdir -p "$root/bin" "$root/condabin" "$root/conda-meta" "$root/etc/profile.d"
    version=$("$lib/conda" --version) || {
        rm -rf "$root"
        say "embedded: the program does not run here"
        return 1
    }
    : >"$root/conda-meta/history"
    # A link, or the program would be in two layers of the image. It finds its
    # installation by what is written beside it.
    printf '%s\n' "$root" >"$lib/conda-root"
    ln -s "$lib/conda" "$root/bin/conda"
    ln -s ../bin/conda "$root/condabin/conda"
    "$root/bin/conda" shell.posix hook >"$root/etc/profile.d/conda.sh"
    say "embedded: $version at $root"
}

# Channels and places, for whoever has lost the image's variables (ssh, env -i).
configure() {
    {
        echo "# Written when the image was built. A ~/.condarc and variables win over it."
        echo "channels:"
        for channel in $channels; do echo "  - $channel"; done
        echo "envs_dirs:"
        echo "  - /envs"
        echo "pkgs_dirs:"
        echo "  - /envs/.pkgs"
        if [ "$1" != embedded ]; then
            # The program belongs to root and to everybody: it does not change by itself.
            echo "auto_update_conda: false"
            echo "notify_outdated_conda: false"
        fi
    } >"$root/.condarc"
    case " $channels " in
    *" defaults "*) say "the channel defaults is configured, as CONDA_CHANNELS says: Anaconda's terms of service apply to it" ;;
    esac
    say "channels: $channels"
}

# `source activate NAME` finds these in PATH, where the base's own programs
# (its python) do not belong.
lay_commands() {
    for word in activate deactivate; do
        {
            echo "# For \`source $word\`, which looks it up in PATH."
            echo ". \"$root/etc/profile.d/conda.sh\" || return \$?"
            echo "conda $word \"\$@\""
        } >"$root/condabin/$word"
        [ -e "$root/bin/$word" ] || ln -s "../condabin/$word" "$root/bin/$word"
    done
}

# The programs that change environments go behind the wrapper, which lets one
# at a time change one environment. (The embedded conda sees to that itself.)
put_behind_wrapper() {
    [ -r "$lib/conda-wrapper.sh" ] || return 0
    mkdir -p "$root/real"
    for program in conda mamba; do
        [ -f "$root/bin/$program" ] || continue
        mv "$root/bin/$program" "$root/real/$program"
        cp "$lib/conda-wrapper.sh" "$root/bin/$program"
        chmod 755 "$root/bin/$program"
        [ ! -e "$root/condabin/$program" ] || ln -sf "../bin/$program" "$root/condabin/$program"
    done
}

# record PROVIDER DETAIL: for the prompt, `conda info` and `run-docker config`.
record() { printf '%s\n' "$*" >"$lib/conda-provider"; }

installed() {
    configure "$1"
    lay_commands
    [ "$1" = embedded ] || put_behind_wrapper
    record "$1" "$2"
    say "provider: $1 ($2)"
}

from_installer() {
    if download_and_run "$1" "$2" "$3"; then
        installed "$1" "$version, $file, SHA-256 $sha256"
    else
        return 1
    fi
}

case $provider in
auto | miniconda | miniforge | embedded | none) ;;
*) die "CONDA_PROVIDER=$provider is no provider" "it is auto, miniconda, miniforge, embedded or none" ;;
esac
if [ "$provider" != none ] && [ -x "$root/bin/conda" ]; then
    [ "$provider" = auto ] || die "the base has a conda at $root already, so $provider cannot be installed there" \
        "keep it with CONDA_PROVIDER=auto, or none to leave everything as it is"
    record base "it was at $root in the base image"
    say "provider: base (it was at $root in the base image; nothing was configured)"
    exit 0
fi
case $provider in
auto)
    # 50 kB/s: slower than that, making the embedded one is quicker.
    from_installer miniconda 2 50000 && exit 0
    if install_embedded; then
        say "the embedded conda is used instead of Miniconda"
        installed embedded "$version"
    else
        record none "Miniconda could not be had, and no embedded conda was in the build context"
        say "provider: none: Miniconda could not be had, and dist/ holds no embedded conda ('run-docker build' makes one)"
    fi
    ;;
miniconda | miniforge)
    from_installer "$provider" 3 1 || die "$provider could not be installed" \
        "CONDA_MIRROR=URL names another place of the installer; CONDA_PROVIDER=embedded needs none"
    ;;
embedded)
    [ -x "$lib/conda" ] || die "the build context holds no embedded conda (dist/conda)" \
        "'run-docker build --conda embedded' makes one and builds the image"
    install_embedded || die "the embedded conda could not be installed"
    installed embedded "$version"
    ;;
none)
    record none "it was built with CONDA_PROVIDER=none"
    say "provider: none, as asked for"
    ;;
esac
