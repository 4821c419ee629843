# hookferry in a slim image that runs without root:
#
#   docker build -t hookferry .
#   docker run -v "$PWD/hookferry.yaml:/etc/hookferry/hookferry.yaml:ro" hookferry
FROM rust:1.91.0-bookworm AS build
WORKDIR /hookferry
COPY Cargo.toml Cargo.lock ./
COPY src src
# Locked: builds for several architectures may run at once, and each takes its own program out.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/hookferry/target,sharing=locked \
    cargo build --release --locked --bin hookferry \
    && cp target/release/hookferry /usr/local/bin/

FROM debian:12.12-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin hookferry
COPY --from=build /usr/local/bin/hookferry /usr/local/bin/
USER 10001:10001
EXPOSE 9477
# It has no curl; bash reads from a socket. In a container `admin.listen` is 0.0.0.0:9477 or stays local.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s \
    CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/9477 && printf 'GET /healthz HTTP/1.0\\r\\nHost: localhost\\r\\n\\r\\n' >&3 && head -n 1 <&3 | grep -q ' 200 '"]
ENTRYPOINT ["hookferry"]
CMD ["run"]
