# Scanfence as a container. `docker compose up` builds it; by itself:
#
#   docker build -t scanfence .
#   docker run --rm -p 127.0.0.1:8080:8080 -e SCANFENCE_ACCESS=open -v scanfence:/var/lib/scanfence scanfence

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
# The caches hold the registry and what was compiled; neither gets into the image. Locked: a
# second build at the same time waits, and then finds its work done.
RUN --mount=type=cache,sharing=locked,target=/usr/local/cargo/registry \
    --mount=type=cache,sharing=locked,target=/src/target \
    cargo build --release --locked --bin scanfence \
    && install -D -m 755 target/release/scanfence /out/scanfence

FROM debian:bookworm-slim
# Certificates for TLS to PostgreSQL and Redis; curl for the health check.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates curl \
    && rm -rf /var/lib/apt/lists/*
RUN useradd --system --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin scanfence \
    && install -d -m 700 -o scanfence -g scanfence /var/lib/scanfence
COPY --from=build /out/scanfence /usr/local/bin/scanfence

USER scanfence
WORKDIR /var/lib/scanfence
# A container has to listen beyond its own loopback, and the service refuses that unless
# SCANFENCE_ACCESS=open says that the network is trusted as a whole.
ENV SCANFENCE_LISTEN=0.0.0.0:8080 \
    SCANFENCE_DATA=/var/lib/scanfence \
    SCANFENCE_LOG_FORMAT=json
VOLUME /var/lib/scanfence
EXPOSE 8080
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s --retries=3 \
    CMD ["curl", "--fail", "--silent", "--show-error", "--output", "/dev/null", "http://127.0.0.1:8080/readyz"]
ENTRYPOINT ["scanfence"]
CMD ["serve"]
