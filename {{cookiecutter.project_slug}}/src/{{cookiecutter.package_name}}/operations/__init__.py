"""What an operator needs of the running service: resources, logs and gunicorn's worker."""
