# Lies in the image as /etc/bash.bashrc: every interactive bash reads it,
# whoever runs it.
# Change it here and build, or COPY another one over it in an image of your own.

case $- in
*i*) ;;
*) return ;;
esac

# History: no doubles, appended, so that two shells do not overwrite each other's.
HISTCONTROL=ignoreboth
HISTSIZE=10000
HISTFILESIZE=20000
shopt -s histappend checkwinsize

# Prompt: user@container:directory, in colours where the terminal has them.
case ${TERM:-dumb} in
dumb) PS1='\u@\h:\w\$ ' ;;
*) PS1='\[\e[1;32m\]\u@\h\[\e[0m\]:\[\e[1;34m\]\w\[\e[0m\]\$ ' ;;
esac

# Colours and the usual short names.
if [ -x /usr/bin/dircolors ]; then
    eval "$(dircolors -b)"
    alias ls='ls --color=auto'
    alias grep='grep --color=auto'
fi
alias ll='ls -alF'
alias la='ls -A'
alias l='ls -CF'

if ! shopt -oq posix && [ -r /usr/share/bash-completion/bash_completion ]; then
    . /usr/share/bash-completion/bash_completion
fi

# Keep this one in a bashrc of your own: it makes `conda activate` work.
if [ -r /etc/profile.d/run-docker-conda.sh ]; then
    . /etc/profile.d/run-docker-conda.sh
fi
