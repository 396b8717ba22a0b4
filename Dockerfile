# docker build -t tech-assistant .                             runs on the CPU
# docker build -t tech-assistant --build-arg DEVICE=cuda .     runs on NVIDIA GPUs (driver 580 on)
FROM python:3.11-slim

ARG DEVICE=cpu

# Triton compiles a small C file for each of its kernels when that is first used; Python's headers
# are in the image already.
RUN if [ "$DEVICE" = cuda ]; then \
        apt-get update \
        && apt-get install -y --no-install-recommends gcc libc6-dev \
        && rm -rf /var/lib/apt/lists/*; \
    fi

WORKDIR /app
COPY requirements.txt constraints.txt ./
# PyPI's torch brings CUDA along: several GB that a machine without a GPU does not need.
RUN if [ "$DEVICE" = cpu ]; then \
        pip install --no-cache-dir torch -c constraints.txt \
            --index-url https://download.pytorch.org/whl/cpu; \
    fi \
    && pip install --no-cache-dir -r requirements.txt -c constraints.txt

COPY app.py LICENSE ./
COPY assistant assistant
COPY models models
COPY prompts prompts

# Number 1000 is who runs a container on Spaces, too. /data keeps what was downloaded or compiled.
RUN useradd --create-home --uid 1000 assistant && install -d -o assistant /data
USER assistant
VOLUME /data
ENV ASSISTANT_HOST=0.0.0.0 HF_HOME=/data/huggingface TRITON_CACHE_DIR=/data/triton PYTHONUNBUFFERED=1
EXPOSE 7860

# While the model loads, /health says 503, and Docker calls the container "starting".
HEALTHCHECK --start-period=30m --interval=15s --timeout=5s CMD ["python", "-c", \
    "import urllib.request as u; u.urlopen('http://127.0.0.1:7860/health', timeout=4)"]

# Process 1 heeds a signal only where it has a handler: Python has one for SIGINT from its start.
STOPSIGNAL SIGINT
ENTRYPOINT ["python", "app.py"]
