"""Knows scikit-learn, knows no HTTP: manifest, artifact, schema, predictor."""
