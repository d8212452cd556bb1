# The trainer: kgdistill with CUDA-capable PyTorch from PyPI, for `docker compose --profile gpu`.
FROM python:3.11.13-slim-bookworm

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1
WORKDIR /app

COPY pyproject.toml README.md constraints.txt ./
COPY kgdistill kgdistill
COPY graph graph
RUN pip install -c constraints.txt ".[demo]"

# Runs are written to a mounted folder; nothing needs root.
RUN useradd --create-home --uid 1000 trainer && mkdir /app/runs && chown trainer /app/runs
USER trainer
VOLUME /app/runs

ENTRYPOINT ["kgdistill"]
CMD ["--help"]
