#!/bin/bash
# On the lent machine: wait until the training ends or so many seconds are over, tell how it stands,
# and put into $OUT what is to come back: light checkpoints (parts under 15 MiB), from which a run
# goes on, or at the end the weights as float16.
#
#     bash tools/lent_gpu/wait.sh [SECONDS]
end=$((SECONDS + ${1:-540}))
while [ "$SECONDS" -lt "$end" ] && pgrep -f "driv3r train" > /dev/null; do sleep 5; done
tail -12 runs/train.log | cut -c1-400
[ -f runs/dmon.log ] && awk 'NR % 6 == 3' runs/dmon.log | tail -5
cp runs/lent/light/*.safetensors runs/lent/card.json "$OUT"/ 2> /dev/null
if ls runs/lent/*.safetensors > /dev/null 2>&1; then
    rm -f "$OUT"/part-*
    cp runs/lent/*.safetensors "$OUT"/
fi
cp runs/train.log "$OUT"/
ls -l "$OUT"
