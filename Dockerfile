# kisi in a container: docs/installation.md#in-a-container says how it is run, every day too.
#
#   docker build --tag kisi .
#   docker run --rm kisi demo
FROM python:3.14-slim AS build
WORKDIR /src
# First what kisi needs, in the tested versions and by their hashes: a layer that rarely changes.
COPY requirements/notify.txt requirements/
RUN python -m venv /opt/kisi \
    && /opt/kisi/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes \
        --requirement requirements/notify.txt
COPY pyproject.toml README.md LICENSE ./
COPY kisi kisi
RUN /opt/kisi/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps \
        --no-build-isolation .

FROM python:3.14-slim
COPY --from=build /opt/kisi /opt/kisi
# A user that nobody else is, by number too: the host's folders are given to that number.
RUN groupadd --gid 10001 kisi \
    && useradd --uid 10001 --gid kisi --home-dir /state --no-create-home --shell /usr/sbin/nologin kisi \
    && install -d -o kisi -g kisi -m 0700 /config /state
# The journal, lock and log are in /state/kisi; `credential:NAME` in kisi.toml is the secret NAME.
ENV PATH=/opt/kisi/bin:$PATH \
    KISI_CONFIG=/config/kisi.toml \
    XDG_STATE_HOME=/state \
    CREDENTIALS_DIRECTORY=/run/secrets \
    PYTHONDONTWRITEBYTECODE=1
VOLUME ["/config", "/state"]
WORKDIR /config
USER 10001:10001
ENTRYPOINT ["kisi"]
CMD ["--help"]
