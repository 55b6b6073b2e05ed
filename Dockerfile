# The image of a version. It is made by the script that also builds a version on a host, and runs the same others:
# `script/serve`, the default; `script/release`, once for each version; `script/manage`. docs/deploy.md has the rest.
FROM debian:bookworm-slim AS base
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates python3 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin airvantage-keys \
    && install --directory --owner 10001 --group 10001 --mode 700 /var/lib/airvantage-keys
WORKDIR /srv/airvantage-keys

FROM base AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3-venv \
    && rm -rf /var/lib/apt/lists/*
COPY . .
RUN script/build

FROM base
COPY --from=build /srv/airvantage-keys /srv/airvantage-keys
# Nothing below /srv is written to: run it with a read-only root, a volume for the pictures, and /tmp in memory.
ENV HOST=0.0.0.0 PORT=8000 MEDIA_ROOT=/var/lib/airvantage-keys/media
USER 10001:10001
VOLUME /var/lib/airvantage-keys
EXPOSE 8000
CMD ["script/serve"]
