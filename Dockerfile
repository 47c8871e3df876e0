# memo in a container; the folder of a project goes to /project:
#
#     docker build -t memo .
#     docker run --rm --user "$(id -u)" -v "$PWD:/project" memo memo validate
#
# For other hardware name another base, and the package index of torch's build for it, as the
# instructions at pytorch.org give it:
#
#     docker build -t memo:cuda --build-arg BASE=nvidia/cuda:12.8.1-base-ubuntu24.04 \
#       --build-arg TORCH=INDEX .
#     docker run --rm --gpus all --user "$(id -u)" -v "$PWD:/project" memo:cuda dvc repro
#
# git is not in the image, so `memo --version` says 0.0.0 unless a build names the version:
#
#     docker build -t memo --build-arg "VERSION=$(git describe --tags --abbrev=0)" .
ARG BASE=python:3.12-slim-bookworm
FROM ${BASE}

# Packages of the base's own release, at the versions that it has; git is for DVC, and Python for
# bases that have none.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends git \
 && if ! command -v python3 >/dev/null; then \
      apt-get install -y --no-install-recommends python3 python3-venv; \
    fi \
 && rm -rf /var/lib/apt/lists/* \
 && python3 -m venv /memo
ENV PATH=/memo/bin:$PATH

# torch first where an index is named: what memo installs after it leaves it as it is.
ARG TORCH
# hadolint ignore=DL3013
RUN if [ -n "${TORCH}" ]; then \
      pip install --no-cache-dir --index-url "${TORCH}" torch torchvision; \
    fi

COPY pyproject.toml constraints.txt README.md LICENSE /src/
COPY memo /src/memo
ARG VERSION
RUN SETUPTOOLS_SCM_PRETEND_VERSION_FOR_MEMO_AUDIT=${VERSION} \
    pip install --no-cache-dir --constraint /src/constraints.txt '/src[private]'

# Any user will do, so that files of the project are those of whoever runs it: --user.
ENV HOME=/tmp USER=memo
USER 10001
WORKDIR /project
CMD ["memo", "--help"]
