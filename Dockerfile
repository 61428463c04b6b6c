FROM nvidia/cuda:12.8.1-base-ubuntu24.04

# The line above is the base: any Debian or Ubuntu (20.04 and newer) will do.
# The image belongs to nobody: who runs it is decided when it is run.
# One stage, and nothing that needs BuildKit. What changes often comes last.

LABEL run-docker.image="1" \
      org.opencontainers.image.title="cuda-miniconda" \
      org.opencontainers.image.licenses="MIT"

# Conda's place: the program in /opt/conda, environments in /envs (mounted when
# the image is run), packages beside them so that they can be hard links.
ENV LANG=C.UTF-8 \
    PATH=/opt/conda/condabin:$PATH \
    CONDA_ENVS_PATH=/envs \
    CONDA_PKGS_DIRS=/envs/.pkgs

ENTRYPOINT ["/entrypoint.sh"]
CMD ["bash"]

# force-unsafe-io: a build that is interrupted is thrown away as a whole, so
# syncing every file to the disk buys nothing.
RUN set -eu; \
    command -v apt-get >/dev/null || { echo "the base on line 1 is neither Debian nor Ubuntu: it has no apt-get" >&2; exit 1; }; \
    export DEBIAN_FRONTEND=noninteractive; \
    echo force-unsafe-io > /etc/dpkg/dpkg.cfg.d/run-docker-build; \
    apt-get update; \
    apt-get install -y --no-install-recommends \
        bash wget curl git bzip2 zip unzip vim less build-essential cmake ca-certificates tzdata; \
    apt-get clean; \
    rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /etc/dpkg/dpkg.cfg.d/run-docker-build

# Conda: which, from where, and with which channels. image/install-conda.sh says
# what each means; docs/images.md has examples. dist/ holds the embedded conda
# only when `run-docker build` put it there.
ARG CONDA_PROVIDER=auto
ARG CONDA_CHANNELS=conda-forge
ARG CONDA_MIRROR=
ARG CONDA_INSTALLER=
ARG CONDA_SHA256=
COPY image/install-conda.sh image/conda-wrapper.sh dist*/conda /usr/local/lib/run-docker/
RUN sh /usr/local/lib/run-docker/install-conda.sh

# The init comes along where dist/ has one (the first start of ./run-docker puts
# it there). run-docker itself brings its own either way.
COPY apt_requirements.txt bashrc entrypoint.sh image/conda-hook.sh image/bash-env.sh image/zsh-hook.sh dist*/run-docker-init* /usr/local/lib/run-docker/

# apt_requirements.txt: names parted by blanks or lines, # starts a comment.
RUN set -euf; \
    cd /usr/local/lib/run-docker; \
    chmod 755 zsh-hook.sh; \
    echo 'DPkg::Post-Invoke { "sh /usr/local/lib/run-docker/zsh-hook.sh || true"; };' > /etc/apt/apt.conf.d/90run-docker-zsh; \
    sh zsh-hook.sh; \
    packages="$(LC_ALL=C sed -e 's/\r$//' -e '1s/^\xEF\xBB\xBF//' -e 's/#.*//' apt_requirements.txt | xargs)"; \
    if [ -n "$packages" ]; then \
        export DEBIAN_FRONTEND=noninteractive; \
        echo force-unsafe-io > /etc/dpkg/dpkg.cfg.d/run-docker-build; \
        apt-get update; \
        apt-get install -y --no-install-recommends $packages; \
        apt-get clean; \
        rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /etc/dpkg/dpkg.cfg.d/run-docker-build; \
    fi; \
    mkdir -p /exp /envs; \
    chmod 755 . /exp /envs entrypoint.sh; \
    chmod 644 apt_requirements.txt bashrc conda-hook.sh bash-env.sh; \
    if [ -e run-docker-init ]; then chmod 755 run-docker-init; fi; \
    mv bashrc /etc/bash.bashrc; \
    mv conda-hook.sh /etc/profile.d/run-docker-conda.sh; \
    mv entrypoint.sh /entrypoint.sh

# Scripts and `bash -c` know `conda activate` too. Last, when the file is there.
ENV BASH_ENV=/usr/local/lib/run-docker/bash-env.sh
