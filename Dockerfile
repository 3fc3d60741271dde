# Two stages: Debian builds, and the image is from scratch with only what the program opens.
FROM debian:bookworm-slim AS build
WORKDIR /src
COPY tools tools
RUN tools/deps run image
COPY . .
RUN cmake --preset release -DBUILD_TESTING=OFF --log-level=WARNING && cmake --build --preset release
RUN tools/rootfs build/buntime /rootfs

FROM scratch
COPY --from=build /rootfs /
ENV HOST=0.0.0.0 \
    PORT=8000 \
    RUNTIME_ENV=production \
    RUNTIME_PLUGIN_DIRS=/data/.plugins:/data/plugins \
    RUNTIME_WORKER_DIRS=/data/.apps:/data/apps \
    RUNTIME_STATE_DIR=/data/state
USER 65532:65532
WORKDIR /data
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 CMD ["/usr/bin/buntime", "health"]
ENTRYPOINT ["/usr/bin/buntime"]
CMD ["serve"]
