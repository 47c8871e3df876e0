"""Sources -> prepared observations; transforms and their Jacobians, both ways."""
