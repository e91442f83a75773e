"""What Prometheus, Alertmanager and Grafana need: numbers and names only."""
