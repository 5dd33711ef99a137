# One image for every role. The command selects the role: `worker control`, `api`, `up`, …
FROM python:3.11.14-slim-bookworm AS build
COPY requirements/ /requirements/
# The build backend is pinned in dev.txt; nothing else of that file is installed here.
RUN sed -n '/^setuptools==/,/[^\\]$/p' /requirements/dev.txt > /requirements/build.txt \
    && python -m venv /venv \
    && /venv/bin/pip install --no-cache-dir --require-hashes -r /requirements/runtime.txt -r /requirements/build.txt
WORKDIR /srv/entrepot
COPY pyproject.toml README.md LICENSE ./
COPY schemas/ schemas/
COPY projections/ projections/
COPY connectors/ connectors/
COPY app/ app/
COPY examples/ examples/
RUN /venv/bin/pip install --no-deps --no-build-isolation -e .

FROM python:3.11.14-slim-bookworm
RUN useradd --uid 10001 --home-dir /data --create-home entrepot && install -d -m 0700 -o entrepot /snapshots
COPY --from=build /venv /venv
COPY --from=build /srv/entrepot /srv/entrepot
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    ENTREPOT_DATA_DIR=/data
USER 10001
WORKDIR /data
VOLUME ["/data", "/snapshots"]
# On SIGTERM a role finishes and commits its current batch, then exits.
STOPSIGNAL SIGTERM
ENTRYPOINT ["entrepot"]
CMD ["up"]
