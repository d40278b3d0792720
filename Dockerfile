# One image for web tasks, migrations, Ray's head and the nodes where kernels run: Python and Ray must be the same on all.
# tests/deploy/test_image.py executes these steps in order without a container engine.
ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS build
WORKDIR /build
COPY requirements.txt requirements-ray.txt ./
RUN python -m venv /opt/venv
RUN /opt/venv/bin/pip install --no-cache-dir --disable-pip-version-check -r requirements-ray.txt
# Compiled beforehand, for the server cannot write there.
RUN /opt/venv/bin/python -m compileall -q -j 0 /opt/venv/lib

FROM python:${PYTHON}-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends bubblewrap ca-certificates tini \
    && rm -rf /var/lib/apt/lists/*
RUN groupadd --gid 10001 rillbook \
    && useradd --uid 10001 --gid 10001 --home-dir /home/rillbook --create-home --shell /usr/sbin/nologin rillbook \
    && install -d -o rillbook -g rillbook -m 0700 /data
# Kernels' interpreter: readable by all, writable by none but root, in a folder of its own, which the sandbox shows them.
COPY --from=build /opt/venv /opt/venv
COPY . /app
WORKDIR /app
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    RILLBOOK_DATA_DIR=/data STATIC_ROOT=/app/staticfiles
RUN RILLBOOK_MODE=single RILLBOOK_DATA_DIR=/tmp/build python manage.py collectstatic --no-input --verbosity 0 \
    && python -m whitenoise.compress --quiet staticfiles \
    && rm -rf /tmp/build
RUN chmod -R a+rX,go-w /app
USER rillbook
VOLUME ["/data"]
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=4 CMD ["python", "/app/deploy/health.py"]
ENTRYPOINT ["/usr/bin/tini", "--", "/app/deploy/entry.sh"]
CMD ["web"]
