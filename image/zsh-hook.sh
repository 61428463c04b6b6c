#!/bin/sh
# Adds conda's hook to zsh's own startup files, once zsh is there. The image has
# this run after every change by dpkg, since a file of ours in their place would
# make dpkg ask which one to keep.
mark=run-docker-conda

# add FILE: appends standard input, once.
add() {
    [ -f "$1" ] || return 0
    if grep -q "$mark" "$1"; then return 0; fi
    cat >>"$1"
}

add /etc/zsh/zshrc <<END

# $mark: conda activate at the first prompt.
if [ -r /etc/profile.d/run-docker-conda.sh ]; then
    . /etc/profile.d/run-docker-conda.sh
fi
END

# Asked right after zshenv, before there is any other place to say no.
add /etc/zsh/zshenv <<END

# $mark: no questionnaire in a home that is fresh in each container.
zsh-newuser-install() { :; }
END
