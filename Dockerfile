# The trainer: kgdistill with CUDA-capable PyTorch from PyPI, for `docker compose --profile gpu`.
FROM python:3.11.13-slim-bookworm

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1
WORKDIR /app

COPY pyproject.toml README.md constraints.txt ./
COPY kgdistill kgdistill
COPY graph graph
RUN pip install -c constraints.txt ".[demo]"

# Whatever is written (runs, archives, an embedded store) goes to the working folder, which is a volume and the
# user's own: a new volume takes the owner of the folder that it is mounted on. Nothing needs root.
RUN useradd --create-home --uid 1000 trainer && mkdir /work && chown trainer:trainer /work
USER trainer
WORKDIR /work
VOLUME /work

ENTRYPOINT ["kgdistill"]
CMD ["--help"]
