# The service's images. The last target is the default and needs nothing beside it:
#
#   docker build -t rsagent . && docker run --rm --init -p 127.0.0.1:8080:8080 rsagent
#
# docker-compose.yml takes the other two, without what they do without: `gateway`, the service in front of both engines,
# without torch; `segmenter`, a node of its Ray cluster, with torch. The policy's image is deploy/vllm/Dockerfile.
ARG PYTHON=python:3.11-slim-bookworm

# --- what is installed, each part in a folder of its own, so that no layer holds a file twice ---
# None may be called `models`: transformers would take itself for one of its models then, and complain.

# hadolint ignore=DL3006
FROM ${PYTHON} AS packages
# Where pip does not find PyTorch's CPU build by itself: the index that has it.
ARG PIP_EXTRA_INDEX_URL=""
COPY requirements-engines.lock deploy/containers/part.awk deploy/containers/models.txt /build/
WORKDIR /build
RUN awk -v part=rest -f part.awk models.txt requirements-engines.lock > rest.lock \
    && awk -v part=models -f part.awk models.txt requirements-engines.lock > models.lock \
    && python -m venv /opt/venv \
    && printf '/opt/rsagent\n/opt/torch\n' > /opt/venv/lib/python3.11/site-packages/parts.pth
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/venv/bin/pip install --quiet --no-deps --require-hashes -r rest.lock

FROM packages AS models
ARG PIP_EXTRA_INDEX_URL=""
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/venv/bin/pip install --quiet --no-deps --require-hashes --target /opt/torch -r models.lock

FROM packages AS ours
COPY pyproject.toml README.md /build/
COPY service /build/service
RUN /opt/venv/bin/pip install --quiet --no-deps --no-build-isolation --target /opt/rsagent .

# --- what runs ---

# hadolint ignore=DL3006
FROM ${PYTHON} AS gateway
COPY --from=packages /opt/venv /opt/venv
COPY --from=ours /opt/rsagent /opt/rsagent
COPY deploy/containers/*.sh deploy/containers/healthy.py /opt/containers/
RUN install -d -o 10001 -g 10001 /run/keys /run/keys/ray /run/keys/policy /run/keys/grafana
ENV PATH=/opt/venv/bin:/opt/rsagent/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HOME=/tmp \
    HF_HUB_OFFLINE=1 OMP_WAIT_POLICY=PASSIVE RAY_USAGE_STATS_ENABLED=0 \
    RSAGENT_SERVER__HOST=0.0.0.0
WORKDIR /tmp
USER 10001:10001
EXPOSE 8080
HEALTHCHECK --interval=5s --timeout=5s --start-period=600s --retries=3 \
    CMD ["python3", "-I", "-S", "/opt/containers/healthy.py", "http", "http://127.0.0.1:8080/readyz"]
ENTRYPOINT ["/opt/containers/gateway.sh"]

FROM gateway AS segmenter
COPY --from=models /opt/torch /opt/torch
HEALTHCHECK --interval=10s --timeout=5s --start-period=600s --retries=3 \
    CMD ["python3", "-I", "-S", "/opt/containers/healthy.py", "process", "raylet", "ray-head:6379"]
ENTRYPOINT ["/opt/containers/segmenter.sh"]

FROM segmenter AS service
HEALTHCHECK --interval=5s --timeout=5s --start-period=120s --retries=3 \
    CMD ["python3", "-I", "-S", "/opt/containers/healthy.py", "http", "http://127.0.0.1:8080/readyz"]
ENTRYPOINT ["rsagent"]
CMD ["serve"]
