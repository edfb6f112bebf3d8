#!/bin/sh
# A node of the Ray cluster whose head is beside the service. It ends when the head is gone, and is started anew: a head
# that comes back is another cluster.
set -eu
address=$(hostname -i | awk '{ print $1 }')
exec ray start --address="${RAY_HEAD:=ray-head}:6379" --node-ip-address="$address" --num-cpus="${SEGMENTER_SLOTS:-2}" \
  --object-store-memory="${RAY_OBJECT_STORE:-268435456}" --metrics-export-port=8090 --disable-usage-stats --block
