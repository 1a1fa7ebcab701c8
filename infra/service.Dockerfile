# The image of any one service: docker build -f infra/service.Dockerfile --build-arg SERVICE=scheduler .
ARG BASE=python:3.11-slim

FROM ${BASE} AS build
ARG SERVICE
ENV UV_NO_CONFIG=1 UV_PYTHON_DOWNLOADS=never PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
COPY requirements requirements
RUN python3 -m venv /opt/uv \
 && /opt/uv/bin/pip install --no-cache-dir --require-hashes -r requirements/uv.txt \
 && /opt/uv/bin/uv venv --python python3 /opt/dominie
COPY contracts contracts
COPY eventstore eventstore
COPY bridges/sdk bridges/sdk
COPY services services
# By path, not by workspace: the members that this service does not need are not here.
RUN /opt/uv/bin/uv pip install --no-cache --no-sources --compile-bytecode --python /opt/dominie \
      --build-constraints requirements/build.txt --constraints requirements/dev.txt \
      ./contracts ./eventstore ./bridges/sdk ./services/kit "./services/${SERVICE:?which service?}"

FROM ${BASE}
# What a service needs of the system: bubblewrap, for the one that runs tools.
ARG PACKAGES=""
# hadolint ignore=DL3008
RUN if [ -n "${PACKAGES}" ]; then \
      apt-get update && apt-get install -y --no-install-recommends "${PACKAGES}" && rm -rf /var/lib/apt/lists/*; \
    fi \
 && useradd --system --uid 10001 --create-home --home-dir /var/lib/dominie dominie \
 && install -d -o dominie -g dominie /archive
COPY --from=build /opt/dominie /opt/dominie
ENV PATH=/opt/dominie/bin:$PATH PYTHONUNBUFFERED=1
USER 10001
WORKDIR /var/lib/dominie
ARG SERVICE
ENV SERVICE=${SERVICE}
STOPSIGNAL SIGTERM
CMD ["sh", "-c", "exec dominie serve \"$SERVICE\""]
