"""Grafana's dashboards as code.

    python -m deploy.grafana           # write dashboards/*.json anew
    python -m deploy.grafana --check   # fail where they are not what the code says

panels.py        what a panel is, and how it becomes Grafana's JSON
boards/          the dashboards, one a module
dashboards/      the JSON, committed: Grafana reads it as it is
provisioning/    what tells Grafana where Prometheus and the dashboards are
"""
