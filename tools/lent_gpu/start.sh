#!/bin/bash
# On the lent machine: train in the background, then wait and bring back what there is. The first
# step comes some 75 s after; a call that follows within the machine's patience is wait.sh.
#
#     bash tools/lent_gpu/start.sh RECIPE SECONDS [WAIT]       seconds of training, and to wait for
#     DEVICE=cpu ... tries it where there is none
set -uo pipefail
mkdir -p runs /tmp/site
[ -f .gpu/site.tar.xz ] && tar -C /tmp/site -xJf .gpu/site.tar.xz
export PYTHONPATH=$PWD:/tmp/site PYTHONUNBUFFERED=1
# Processes of their own that outlive the call; a core is left for the trainer.
setsid nohup python3 -m driv3r train "$1" --device "${DEVICE:-cuda}" --workers $(($(nproc) - 1)) \
    --out runs/lent --seconds "$2" > runs/train.log 2>&1 &
command -v nvidia-smi > /dev/null && setsid nohup nvidia-smi dmon -s u -d 10 > runs/dmon.log 2>&1 &
bash tools/lent_gpu/wait.sh "${3:-540}"
