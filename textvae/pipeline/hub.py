"""What goes to the Hub."""

CARD_FILE, METRICS_FILE = "README.md", "metrics.json"  # of a run, beside its model
