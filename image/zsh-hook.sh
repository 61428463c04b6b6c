#!/bin/sh
# Adds conda's hook to zsh's own startup file, once zsh is there. The image has
# this run after every change by dpkg, since a file of ours in its place would
# make dpkg ask which one to keep.
zshrc=/etc/zsh/zshrc
[ -f "$zshrc" ] || exit 0
if grep -q run-docker-conda "$zshrc"; then exit 0; fi
cat >>"$zshrc" <<'END'

# Conda at the first prompt; and no questionnaire in a home that is fresh in each container.
if [ -r /etc/profile.d/run-docker-conda.sh ]; then
    zsh-newuser-install() { :; }
    . /etc/profile.d/run-docker-conda.sh
fi
END
