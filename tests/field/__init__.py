"""Data and models as the field has them: small inputs of our own making."""
