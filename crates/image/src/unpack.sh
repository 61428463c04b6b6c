# Makes the makings of a Debian or Ubuntu base with nothing but apt and dpkg,
# as any user: no root, no user namespace.
#   $1  an empty directory of ours    $2  the suite
#   $1/sources.list  where packages come from
# Leaves $1/root.tar: the essential packages' files, not yet installed, and the
# packages themselves in /.debs. Installing them is done by a container.
set -eu
# What is made here is everybody's to read, as the packages have it.
umask 022
dir=$1 suite=$2
# An interrupted run leaves nothing; every other end is the caller's to clean.
trap 'rm -rf "$dir"; exit 130' INT TERM HUP

arch=$(dpkg --print-architecture)
mkdir -p "$dir/state/lists/partial" "$dir/cache/archives/partial" "$dir/root"
: >"$dir/status"
# The host's own settings (a proxy) stay; its places, pins and hooks do not.
cat >"$dir/apt.conf" <<END
#clear APT::Update;
#clear DPkg;
APT::Architecture "$arch";
APT::Architectures { "$arch"; };
APT::Install-Recommends "false";
APT::Sandbox::User "";
APT::Update::Error-Mode "any";
Acquire::Languages "none";
Acquire::Retries "2";
Dir::Cache "$dir/cache";
Dir::Etc::Preferences "/dev/null";
Dir::Etc::PreferencesParts "/dev/null";
Dir::Etc::SourceList "$dir/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::State "$dir/state";
Dir::State::status "$dir/status";
END
private() {
    tool=$1
    shift
    "$tool" -c "$dir/apt.conf" "$@"
}

echo "I: fetching the package lists of $suite"
private apt-get update
# The first alternative of a dependency, usrmerge, would bring all of perl.
extra=
if private apt-cache show usr-is-merged >/dev/null 2>&1; then extra=usr-is-merged; fi
echo "I: fetching the essential packages"
private apt-get install --download-only -y '?essential' apt ca-certificates $extra

echo "I: unpacking them"
cd "$dir/root"
for name in bin sbin lib; do mkdir -p "usr/$name" && ln -s "usr/$name" "$name"; done
if [ "$arch" = amd64 ]; then mkdir usr/lib64 && ln -s usr/lib64 lib64; fi
mkdir .debs
# -p: a plain user's tar would leave out that /tmp is everybody's.
for deb in "$dir"/cache/archives/*.deb; do
    dpkg-deb --fsys-tarfile "$deb" | tar --keep-directory-symlink --no-same-owner -p \
        --exclude='./usr/share/man/*' --exclude='./usr/share/doc/*' --exclude='./usr/share/locale/*' \
        --exclude='./usr/share/info/*' -xf -
    mv "$deb" .debs/
done
mkdir -p var/lib/dpkg/info var/lib/dpkg/updates var/lib/dpkg/triggers var/lib/dpkg/alternatives \
    etc/apt etc/dpkg/dpkg.cfg.d
: >var/lib/dpkg/status
: >var/lib/dpkg/available
cp usr/share/base-passwd/passwd.master etc/passwd
cp usr/share/base-passwd/group.master etc/group
cp "$dir/sources.list" etc/apt/sources.list

echo "I: packing the archive"
tar --owner=0 --group=0 --numeric-owner -cf "$dir/root.tar" .
