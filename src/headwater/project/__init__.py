"""What knows all wings: configuration, budget of a planet, why a job runs again, the demo run."""
