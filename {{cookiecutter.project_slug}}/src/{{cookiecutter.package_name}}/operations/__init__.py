"""What an operator needs of the running service: resources and logs."""
