"""A prediction service around one trained scikit-learn model.

Start reading at `serving.app.create_app`; your own model goes into `training.pipeline`.
"""
