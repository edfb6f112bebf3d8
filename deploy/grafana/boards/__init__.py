"""The dashboards, in the order an operator reads them: what users get, what the agent does, what its engines do,
how full everything is."""

from deploy.grafana.boards import agent, policy, pool, requests, saturation, segmenter

BOARDS = (requests.BOARD, agent.BOARD, policy.BOARD, segmenter.BOARD, pool.BOARD, saturation.BOARD)
