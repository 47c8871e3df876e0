"""What the data and models of the field do to memo: small inputs of our own making."""
