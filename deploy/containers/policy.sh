#!/bin/sh
# vLLM with what the service asks of it (engines/command.py starts it the same way), and the key in a file.
#   POLICY_CHECKPOINT   a folder, such as /models/NAME      POLICY_CONTEXT   tokens of prompt and answer
# Further words are vLLM's own.
set -eu
VLLM_API_KEY=$(cat "${POLICY_KEY_FILE:?names the file that holds the key}")
export VLLM_API_KEY
if [ "${VLLM_ENABLE_V1_MULTIPROCESSING:-1}" = 0 ]; then  # it computes in its own process: all cores but one are its threads
  export OMP_NUM_THREADS="${OMP_NUM_THREADS:-$(($(nproc) > 1 ? $(nproc) - 1 : 1))}"
fi
exec python3 -m vllm.entrypoints.openai.api_server \
  --model "${POLICY_CHECKPOINT:-/models/nano}" --served-model-name rsagent-policy --host 0.0.0.0 --port 8000 \
  --max-model-len "${POLICY_CONTEXT:-8192}" --max-num-seqs "${POLICY_BATCH:-64}" \
  --limit-mm-per-prompt '{"image": 17, "video": 0}' --enable-prompt-tokens-details --disable-uvicorn-access-log \
  --stream-interval 4 \
  --structured-outputs-config '{"backend": "xgrammar", "disable_any_whitespace": true}' "$@"
