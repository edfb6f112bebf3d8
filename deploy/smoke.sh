#!/usr/bin/env bash
# A newcomer's first visit, for real: `make serve`, then every command that the README shows against it.
set -euo pipefail
cd "$(dirname "$0")/.."
PORT=${PORT:-8091}
log=$(mktemp)
setsid make serve PORT="$PORT" >"$log" 2>&1 &
server=$!
trap 'kill -TERM -- -$server 2>/dev/null || true; wait $server 2>/dev/null || true; rm -f "$log"' EXIT
for _ in $(seq 240); do
  curl -sf "http://127.0.0.1:$PORT/readyz" >/dev/null && ready=1 && break
  kill -0 $server 2>/dev/null || break
  sleep 0.5
done
[ -n "${ready:-}" ] || { echo "the server did not become ready:"; cat "$log"; exit 1; }

.venv/bin/python deploy/readme.py server --port "$PORT"
.venv/bin/python deploy/readme.py alone --port "$PORT"

stream=$(curl -sN "http://127.0.0.1:$PORT/v1/segment" -H 'Accept: text/event-stream' \
  -F image=@service/rsagent/examples/01.jpg -F "query=$(.venv/bin/python -c \
  'from rsagent import examples; print(examples.load()[0].sentences[0])')" -F include=thoughts)
for event in accepted thought action mask final; do
  grep -q "^event: $event" <<<"$stream" || { echo "no $event event came"; tail -5 "$log"; exit 1; }
done
echo "smoke: the README's commands work against \`make serve\`"
